"""harken.models.language_model: the contract, the past and nothing else, and every window split alike."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harken import reference
from harken.config import LanguageModelConfig
from harken.models.language_model import LanguageModel, LanguageModelOutput, TextState
from harken.models.writer import Writer
from harken.testing import check_padding

VOCABULARY = 11
MODELS: dict[str, dict[str, Any]] = {
    "none": {"attention": "none"},
    "none-projected": {"attention": "none", "hidden_size": 8, "join": "linear"},
    "dot": {"attention": "dot"},
    "dot-current-gru": {"attention": "dot", "include_current": True, "cell": "gru"},
    "scaled-dot-long": {"attention": "scaled-dot", "memory_length": 50, "tied": False},
    "general-all": {"attention": "general", "attend_layers": "all"},
    "additive": {"attention": "additive", "join": "linear", "hidden_size": 7},
    "additive-all-current": {"attention": "additive", "attend_layers": "all", "include_current": True},
}


def build(name: str, **options: Any) -> LanguageModel:
    torch.manual_seed(0)
    sizes = {"embedding_size": 6, "hidden_size": 6, "memory_length": 4}
    model = LanguageModel(LanguageModelConfig(**{**sizes, **MODELS[name], **options}), VOCABULARY).double()
    for parameter in model.parameters():  # biases too: a zero bias hides mistakes
        torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def text(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", MODELS)
def test_a_row_is_treated_as_if_it_were_alone(name: str) -> None:
    model, lengths = build(name), torch.tensor([7, 0, 1, 4])
    ids = text(4, 9)
    ids[0] = torch.arange(9)  # whoever fills the padding looks for other ids
    parameters = dict(model.named_parameters())

    def logits(x: torch.Tensor, n: torch.Tensor) -> dict[str, torch.Tensor]:
        output = model(x, n)
        real = (torch.arange(x.shape[1]) < n[:, None]).unsqueeze(-1)
        return {"logits": model.logits(output.features) * real, "features": output.features}

    check_padding(logits, ids, lengths, parameters=parameters).raise_if_failed()


@pytest.mark.parametrize("name", MODELS)
def test_weights_and_state_of_a_row_do_not_depend_on_the_batch(name: str) -> None:
    model = build(name)
    lengths = torch.tensor([6, 2, 0])
    together = model(text(3, 8), lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model(text(3, 8)[row : row + 1, :length])
        for ours, theirs in zip(together.state.recurrent, alone.state.recurrent, strict=True):
            torch.testing.assert_close(ours[:, row], theirs[:, 0])
        for memory, other in zip(together.state.memories, alone.state.memories, strict=True):
            torch.testing.assert_close(memory.states[row], other.states[0])
            assert memory.lengths[row] == other.lengths[0] == min(length, 4 if name != "scaled-dot-long" else 50)
        for weights, other_weights in zip(together.weights, alone.weights, strict=True):
            seen = model.config.memory_length + length
            torch.testing.assert_close(weights[row, :length, :seen], other_weights[0])
            assert not weights[row, length:].any()
            assert not weights[row, :, seen:].any()


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(1, 13), max_size=5, unique=True))
def test_a_text_in_one_pass_is_the_text_in_any_windows(name: str, cuts: list[int]) -> None:
    model, ids = build(name), text(2, 14)
    whole = model(ids)
    edges = [0, *sorted(cuts), 14]
    state, pieces = None, []
    for start, end in pairwise(edges):
        output = model(ids[:, start:end], None, state)
        pieces.append(output.features)
        state = output.state
    torch.testing.assert_close(torch.cat(pieces, 1), whole.features)
    assert state is not None
    torch.testing.assert_close(state.recurrent[0], whole.state.recurrent[0])


@pytest.mark.parametrize("name", MODELS)
def test_log_probability_in_one_pass_is_the_sum_over_single_steps(name: str) -> None:
    model, ids = build(name), text(1, 16)
    lengths = torch.tensor([15])
    output = model(ids[:, :-1])
    whole = model.log_probabilities(output.features, ids[:, 1:], lengths)[0]  # (15,)
    writer, steps = Writer(model), []
    for token, following in zip(ids[0, :-1].tolist(), ids[0, 1:].tolist(), strict=True):
        steps.append(float(torch.from_numpy(writer(token)).log_softmax(-1)[following]))
    torch.testing.assert_close(whole, torch.tensor(steps, dtype=torch.float64))
    torch.testing.assert_close(-model.loss(output.features, ids[:, 1:], lengths), whole.sum())


@pytest.mark.parametrize("name", [name for name in MODELS if not name.startswith("none")])
def test_a_writer_tells_where_it_looked(name: str) -> None:
    model, ids = build(name), text(1, 9)
    whole, writer = model(ids), Writer(model)
    before = model.config.memory_length  # slots of a memory that is empty
    for step, token in enumerate(ids[0].tolist()):
        writer.features(token)
        for weights, all_weights in zip(writer.weights, whole.weights, strict=True):
            seen = step + model.config.include_current
            first = before + max(0, step - before)
            expected = all_weights[0, step, first : before + seen]
            torch.testing.assert_close(torch.from_numpy(weights), expected)


@pytest.mark.parametrize("name", MODELS)
def test_what_comes_later_changes_nothing_before(name: str) -> None:
    model, ids = build(name), text(1, 10)
    changed = ids.clone()
    changed[0, 6] = (changed[0, 6] + 1) % VOCABULARY
    one, other = model(ids).features, model(changed).features
    torch.testing.assert_close(one[:, :6], other[:, :6], rtol=0, atol=0)
    assert (one[:, 6:] != other[:, 6:]).any()


def test_the_first_step_looks_at_nothing_and_the_step_itself_is_left_out_unless_asked_for() -> None:
    for name in ("dot", "general-all", "additive"):
        for weights in build(name)(text(1, 6)).weights:
            memory = 4
            assert not weights[0, 0].any()
            assert not weights[0, :, memory:].diagonal().any()
            assert weights[0, 1:].sum(-1).allclose(torch.ones(5, dtype=torch.float64))
    for weights in build("dot-current-gru")(text(1, 6)).weights:
        assert weights[0, 0, 4] == 1
        assert (weights[0, :, 4:].diagonal() > 0).all()


def test_memory_reaches_exactly_as_far_as_it_says() -> None:
    model, ids = build("dot"), text(1, 12)
    weights = model(ids).weights[0][0, :, 4:]  # (T, T), over the window
    for step in range(12):
        assert (weights[step] > 0).nonzero().flatten().tolist() == list(range(max(0, step - 4), step))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("join", ["linear", "mlp"])
@pytest.mark.parametrize("attention", ["dot", "scaled-dot", "general", "additive"])
def test_it_agrees_with_the_numpy_reference(attention: str, join: str, tied: bool) -> None:
    """Ragged streams that go on after an earlier window: features, memory, loss and the gradient of every parameter."""
    model = build("dot", attention=attention, join=join, tied=tied, num_layers=1, hidden_size=5)
    ids, targets, lengths = text(4, 7), text(4, 7, seed=2), torch.tensor([7, 0, 3, 5])
    state = model(text(4, 5, seed=3), torch.tensor([5, 2, 3, 0])).state.detach()
    output = model(ids, lengths, state)
    loss = model.loss(output.features, targets, lengths)
    loss.backward()

    features, memory, true_loss, gradients = _reference_pass(model, ids, targets, lengths, state)
    torch.testing.assert_close(output.features, features)
    torch.testing.assert_close(output.state.memories[0].states, memory)
    torch.testing.assert_close(float(loss.detach()), true_loss)
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, msg=lambda text, name=name: f"{name}: {text}")


def _reference_pass(
    model: LanguageModel, ids: torch.Tensor, targets: torch.Tensor, lengths: torch.Tensor, state: TextState
) -> tuple[torch.Tensor, torch.Tensor, float, dict[str, torch.Tensor]]:
    """Features, memory, loss and gradients by harken.reference: from the embedding to the softmax, and back."""
    weights = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    additive = {
        "query.weight": "query_weight",
        "key.weight": "key_weight",
        "key.bias": "bias",
        "energy.weight": "energy",
    }
    names = {"general": {"query.weight": "weight"}, "additive": additive}.get(model.config.attention, {})
    scores = {name: weights[f"attentions.0.attention.{torch_name}"] for torch_name, name in names.items()}
    if "energy" in scores:
        scores["energy"] = scores["energy"][0]

    embedding, scale = reference.TimeEmbedding(weights["embedding.weight"]), model.config.embedding_size**0.5
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    recurrent = reference.TimeLSTM(*(weights[f"recurrent.{kind}_l0"] for kind in kinds))
    attention = reference.PastAttention(model.config.memory_length, score=model.config.attention, **scores)
    join = reference.TimeAffine(weights["join.weight"], weights["join.bias"])
    output = reference.TimeAffine(weights.get("output", weights["embedding.weight"]), weights["bias"])
    softmax = reference.TimeSoftmaxWithLoss()

    rows, mask = lengths.numpy(), reference.mask_from_lengths(lengths.numpy(), ids.shape[1])
    h0, c0 = (part[0].numpy() for part in state.recurrent)
    memory, written = (part.numpy() for part in state.memories[0])
    states, h_n, c_n = recurrent.forward(scale * embedding.forward(ids.numpy()), rows, h0, c0)
    contexts, _, after, _ = attention.forward(states, rows, memory, written)
    features = join.forward(np.concatenate([states, contexts], axis=-1))  # (B, T, E)
    if model.config.join == "mlp":
        features = np.tanh(features)
    features *= mask[..., None]
    count = int(mask.sum())
    loss = count * softmax.forward(output.forward(features), targets.numpy(), mask)

    dfeatures = output.backward(count * softmax.backward())  # 0 on padding
    if model.config.join == "mlp":
        dfeatures *= 1 - features**2
    dstates, dcontexts = np.split(join.backward(dfeatures), 2, axis=-1)
    dstates = dstates + attention.backward(dcontexts)[0]
    embedding.backward(scale * recurrent.backward(dstates, np.zeros_like(h_n), np.zeros_like(c_n))[0])

    gradients = {
        "embedding.weight": embedding.grads["weight"],
        "bias": output.grads["bias"],
        **{f"join.{name}": gradient for name, gradient in join.grads.items()},
        **{f"recurrent.{kind}_l0": recurrent.grads[kind] for kind in kinds},
        **{f"attentions.0.attention.{torch_name}": attention.grads[name] for torch_name, name in names.items()},
    }
    if "output" in weights:
        gradients["output"] = output.grads["weight"]
    else:  # one matrix, read at both ends
        gradients["embedding.weight"] = gradients["embedding.weight"] + output.grads["weight"]
    tensors = {name: torch.from_numpy(gradient).reshape(weights[name].shape) for name, gradient in gradients.items()}
    return torch.from_numpy(features), torch.from_numpy(after), loss, tensors


@pytest.mark.parametrize("name", ["dot", "additive-all-current"])
def test_every_parameter_learns_and_dropout_is_off_in_evaluation(name: str) -> None:
    drops = {"dropout": 0.4, "input_dropout": 0.3, "embedding_dropout": 0.2, "weight_dropout": 0.5}
    model, ids = build(name, **drops), text(3, 8)
    lengths = torch.tensor([8, 8, 8])
    once, again = (model(ids).features for _ in range(2))
    torch.testing.assert_close(once, again, rtol=0, atol=0)
    model.train()
    drawn: list[LanguageModelOutput] = [model(ids, lengths) for _ in range(2)]
    assert (drawn[0].features != drawn[1].features).any()
    model.loss(drawn[0].features, text(3, 8, seed=3), lengths).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.any(), parameter_name


def test_tied_weights_are_one_tensor_and_learn_from_both_ends() -> None:
    model = build("none")
    assert model.output_weight is model.embedding.weight
    ids, targets, lengths = text(2, 5), text(2, 5, seed=4), torch.tensor([5, 5])
    model.loss(model(ids).features, targets, lengths).backward()
    read = torch.autograd.grad(
        torch.nn.functional.cross_entropy(
            model(ids).features.flatten(0, 1) @ model.embedding.weight.detach().T + model.bias,
            targets.flatten(),
            reduction="sum",
        ),
        model.embedding.weight,
    )[0]
    gradient = model.embedding.weight.grad
    assert gradient is not None
    assert (gradient - read).abs().max() > 1e-3  # what the output layer adds


def test_gradients_of_the_loss_are_those_of_plain_cross_entropy() -> None:
    model, ids, targets = build("general-all", num_layers=2), text(3, 6), text(3, 6, seed=5)
    lengths = torch.tensor([6, 3, 0])
    model.loss(model(ids, lengths).features, targets, lengths).backward()
    ours = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    logits = model.logits(model(ids, lengths).features)
    real = torch.arange(6) < lengths[:, None]
    torch.nn.functional.cross_entropy(logits[real], targets[real], reduction="sum").backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, msg=name)


def test_a_window_of_no_tokens_is_legal() -> None:
    model = build("dot")
    output = model(text(2, 0))
    assert output.features.shape == (2, 0, 6)
    assert not output.state.recurrent[0].any()
