"""The contract of the three sequence-to-sequence models."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.config import Seq2SeqConfig
from harken.errors import ConfigError
from harken.models.seq2seq import Seq2SeqModel, token_loss

SOURCE, TARGET = 11, 9
MODELS = {
    "plain": {"kind": "plain"},
    "plain-gru-bidirectional": {"kind": "plain", "cell": "gru", "bidirectional": True},
    "peeky": {"kind": "peeky"},
    "peeky-stacked-concat": {
        "kind": "peeky",
        "cell": "gru",
        "num_layers": 2,
        "combine": "concat",
        "bidirectional": True,
    },
    "attention": {"kind": "attention"},
    "attention-scaled": {"kind": "attention", "score": "scaled-dot", "num_layers": 2, "combine": "concat"},
    "attention-general": {"kind": "attention", "score": "general", "bidirectional": True},
    "attention-additive": {
        "kind": "attention",
        "score": "additive",
        "bidirectional": True,
        "num_layers": 2,
        "combine": "sum",
    },
    "attention-heads": {"kind": "attention", "score": "multi-head", "num_heads": 2, "bidirectional": True},
    "attention-fed": {"kind": "attention", "input_feeding": True},
    "attention-fed-heads": {"kind": "attention", "input_feeding": True, "score": "multi-head", "num_heads": 2},
}


def build(name: str, dtype: torch.dtype = torch.float64) -> Seq2SeqModel:
    torch.manual_seed(0)
    model = Seq2SeqModel(Seq2SeqConfig(hidden_size=6, embedding_size=5, **MODELS[name]), SOURCE, TARGET)
    for parameter in model.parameters():  # biases too: a zero bias hides mistakes
        torch.nn.init.normal_(parameter, std=0.5)
    return model.to(dtype).eval()


def batch(lengths: list[tuple[int, int]], seed: int = 1) -> tuple[torch.Tensor, ...]:
    """Random ids with garbage, not zeros, in the padding."""
    generator = torch.Generator().manual_seed(seed)
    source_lengths, target_lengths = (torch.tensor(n) for n in zip(*lengths, strict=True))
    source = torch.randint(SOURCE, (len(lengths), int(source_lengths.max()) + 2), generator=generator)
    target = torch.randint(TARGET, (len(lengths), int(target_lengths.max()) + 2), generator=generator)
    return source, source_lengths, target, target_lengths


def cut(rows: tuple[torch.Tensor, ...], row: int) -> tuple[torch.Tensor, ...]:
    """One row alone, without any padding."""
    source, source_lengths, target, target_lengths = rows
    s, t = int(source_lengths[row]), int(target_lengths[row])
    return (
        source[row : row + 1, :s],
        source_lengths[row : row + 1],
        target[row : row + 1, :t],
        target_lengths[row : row + 1],
    )


def gradients(model: Seq2SeqModel, rows: tuple[torch.Tensor, ...], row: int) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=False)
    targets = rows[2].clone()
    token_loss(model(*rows).logits, targets, rows[3])[row].backward()
    return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}


def close(a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype) -> bool:
    a, b = a.detach(), b.detach()
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    return bool((a - b).norm() <= tolerance * max(float(b.norm()), 1e-2))  # a key bias has gradient 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", MODELS)
def test_a_row_is_the_same_alone_and_in_company(name: str, dtype: torch.dtype) -> None:
    model, rows = build(name, dtype), batch([(5, 4), (0, 3), (1, 1), (7, 2)])
    together = model(*rows)
    for row in range(4):
        alone_rows = cut(rows, row)
        alone = model(*alone_rows)
        s, t = alone_rows[0].shape[1], alone_rows[2].shape[1]
        assert close(together.logits[row, :t], alone.logits[0], dtype)
        assert bool((together.logits[row, t:] == 0).all())
        if alone.weights is not None:
            assert together.weights is not None
            assert close(together.weights[row][..., :t, :s], alone.weights[0], dtype)
            assert bool((together.weights[row][..., s:] == 0).all())
            assert bool((together.weights[row][..., t:, :] == 0).all())
            sums = together.weights[row][..., :t, :].sum(-1)
            assert torch.allclose(sums, torch.full_like(sums, float(s > 0)))
        mine, theirs = gradients(model, alone_rows, 0), gradients(model, rows, row)
        for parameter in mine:
            assert close(theirs[parameter], mine[parameter], dtype), parameter


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 5)), min_size=2, max_size=5),
    st.randoms(),
    st.sampled_from(sorted(MODELS)),
)
def test_order_does_not_matter(lengths: list[tuple[int, int]], random: object, name: str) -> None:
    model, rows = build(name), batch(lengths)
    order = torch.randperm(len(lengths))
    shuffled = model(*(t[order] for t in rows)).logits
    assert close(shuffled, model(*rows).logits[order], torch.float64)


@pytest.mark.parametrize("name", MODELS)
def test_stepping_is_teacher_forcing(name: str) -> None:
    model = build(name)
    source, source_lengths, target, target_lengths = batch([(5, 4), (0, 3), (1, 1), (7, 2)])
    forced = model(source, source_lengths, target, target_lengths)
    memory = model.encode(source, source_lengths)
    state = model.start(memory)
    for t in range(int(target_lengths.max())):
        logits, state, weights = model.step(target[:, t], state, memory)
        live = t < target_lengths
        assert close(logits[live], forced.logits[live, t], torch.float64)
        if weights is not None:
            assert forced.weights is not None
            assert close(weights[live], forced.weights[live][..., t, :], torch.float64)


@pytest.mark.parametrize("name", ["plain", "peeky", "attention", "attention-additive"])
def test_what_the_kinds_see(name: str) -> None:
    """Plain sees the source through the first state alone; the others by a second way."""
    model = build(name)
    source, source_lengths, target, _ = batch([(5, 4), (7, 4)])
    memory = model.encode(source, source_lengths)
    blank = type(memory.state)(*(torch.zeros_like(s) for s in memory.state))
    same_state = memory._replace(state=blank) if name.startswith("attention") else memory
    other = model.encode(source.flip(0), source_lengths)
    other_state = other._replace(state=same_state.state)
    first, second = (model.step(target[:, 0], model.start(m), m).logits for m in (same_state, other_state))
    assert torch.allclose(first, second) == (not name.startswith("attention"))


@pytest.mark.parametrize("name", ["plain", "peeky", "peeky-stacked-concat"])
def test_only_peeky_sees_the_final_state_at_every_step(name: str) -> None:
    """The encoder's final state changes after the decoder has started from it."""
    model = build(name)
    source, source_lengths, target, _ = batch([(5, 4), (7, 4)])
    memory = model.encode(source, source_lengths)
    changed = memory._replace(state=type(memory.state)(*(s + 1 for s in memory.state)))
    state = model.start(memory)
    first, second = (model.step(target[:, 0], state, m).logits for m in (memory, changed))
    assert torch.allclose(first, second) == (not name.startswith("peeky"))


def test_peeky_by_hand() -> None:
    """The decoder reads [y; c] and the output layer [c; h], with c the encoder's final h: row by row, by torch."""
    model = build("peeky")
    rows = batch([(5, 4), (3, 2)])
    encoder, decoder = model.encoder.to_torch(), model.decoder.to_torch()
    found = model(*rows).logits
    for row in range(2):
        source, _, target, target_lengths = cut(rows, row)
        h, c = encoder(model.source_embedding(source))[1]  # (1, 1, H)
        seen = h[0].expand(int(target_lengths), -1)  # (T, H)
        inputs = torch.cat([model.target_embedding(target[0]), seen], dim=-1)  # (T, E + H)
        outputs = decoder(inputs.unsqueeze(0), (h, c))[0][0]  # (T, H)
        expected = model.output(torch.cat([seen, outputs], dim=-1))  # (T, V)
        assert close(found[row, : len(expected)], expected, torch.float64)


@pytest.mark.parametrize("name", ["attention-fed", "attention-fed-heads"])
def test_input_feeding_sees_the_vector_it_is_fed(name: str) -> None:
    model = build(name)
    source, source_lengths, target, _ = batch([(5, 4), (7, 4)])
    memory = model.encode(source, source_lengths)
    state = model.start(memory)
    assert state.feed is not None
    first, second = (
        model.step(target[:, 0], state._replace(feed=feed), memory).logits for feed in (state.feed, state.feed + 1)
    )
    assert not torch.isclose(first, second).all(dim=1).any()


def test_input_feeding_by_hand() -> None:
    """Luong et al. 2015, equations 5 and 7 and section 3.3, over two steps, row by row: h̃ = tanh(W [c; h])."""
    model = build("attention-fed")
    rows = batch([(5, 2), (3, 2)])
    decoder = model.decoder.to_torch()
    assert model.attentional is not None
    found = model(*rows).logits
    for row in range(2):
        source, source_lengths, target, _ = cut(rows, row)
        memory = model.encode(source, source_lengths)
        keys, state = memory.keys[0], (memory.state.h, memory.state.c)  # (S, H)
        fed = torch.zeros(6, dtype=torch.float64)  # (H,)
        for t in range(2):
            inputs = torch.cat([model.target_embedding(target[0, t]), fed])  # (E + H,)
            outputs, state = decoder(inputs.reshape(1, 1, -1), state)
            h = outputs[0, 0]  # (H,)
            context = (keys @ h).softmax(0) @ keys  # (H,)
            weight, bias = model.attentional.weight, model.attentional.bias
            fed = torch.tanh(weight @ torch.cat([context, h]) + bias)  # (H,)
            assert close(found[row, t], model.output(fed), torch.float64)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_bridge_by_hand(cell: str) -> None:
    """Layer by layer: the forward state, then the backward one, through the map of h or of c."""
    torch.manual_seed(0)
    config = Seq2SeqConfig(kind="plain", cell=cell, hidden_size=6, embedding_size=5, num_layers=3, bidirectional=True)
    model = Seq2SeqModel(config, SOURCE, TARGET).double().eval()
    rows = batch([(5, 1), (2, 1), (7, 1)])
    assert model.bridge is not None
    found = model.encode(*rows[:2]).state
    assert len(found) == len(model.bridge.maps) == (2 if cell == "lstm" else 1)
    encoder = model.encoder.to_torch()
    for row in range(3):
        final = encoder(model.source_embedding(cut(rows, row)[0]))[1]  # (layers * 2, 1, H), or a pair of them
        parts = final if cell == "lstm" else (final,)
        for part, linear, mapped in zip(parts, model.bridge.maps, found, strict=True):
            assert mapped.shape == (3, 3, 6)
            for layer in range(3):
                forward, backward = part[2 * layer, 0], part[2 * layer + 1, 0]  # (H,)
                expected = linear.weight[:, :6] @ forward + linear.weight[:, 6:] @ backward + linear.bias
                assert close(mapped[layer, row], expected, torch.float64)


def test_token_loss_is_the_sum_over_real_targets() -> None:
    logits, targets = torch.randn(2, 3, 5, dtype=torch.float64), torch.tensor([[1, 2, 3], [4, 0, 0]])
    losses = token_loss(logits, targets, torch.tensor([3, 1]))
    expected = -logits.log_softmax(-1)
    assert torch.allclose(losses[0], expected[0, [0, 1, 2], [1, 2, 3]].sum())
    assert torch.allclose(losses[1], expected[1, 0, 4])
    smooth = token_loss(logits, targets, torch.tensor([3, 1]), label_smoothing=0.1)
    assert torch.allclose(smooth[1], 0.9 * expected[1, 0, 4] + 0.1 * expected[1, 0].mean())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "plain", "input_feeding": True}, "input_feeding needs kind=attention, not kind=plain"),
        ({"score": "multi-head", "num_heads": 3, "hidden_size": 8}, r"num_heads \(3\) must divide hidden_size \(8\)"),
        ({"bidirectional": True, "score": "dot"}, "score=dot .* score=general"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, object], said: str) -> None:
    from harken.config import Seq2SeqRun

    with pytest.raises(ConfigError, match=said):
        Seq2SeqRun().override(**options)


def test_dropout_acts_in_training_and_is_reproducible() -> None:
    torch.manual_seed(0)
    model = Seq2SeqModel(Seq2SeqConfig(hidden_size=6, embedding_size=5, num_layers=2, dropout=0.5), SOURCE, TARGET)
    rows = batch([(5, 4), (3, 3)])
    assert torch.equal(model.eval()(*rows).logits, model(*rows).logits)
    model.train()
    torch.manual_seed(3)
    first = model(*rows).logits
    second = model(*rows).logits
    torch.manual_seed(3)
    assert torch.equal(first, model(*rows).logits)
    assert not torch.equal(first, second)
