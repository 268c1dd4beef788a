import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from harken.reference import AttentionSeq2Seq, TimeAttention

B, S, T, V, W, D, H = 5, 6, 4, 9, 7, 3, 5
SOURCE_LENGTHS, TARGET_LENGTHS = np.array([6, 2, 0, 4, 1]), np.array([2, 4, 3, 1, 4])


@pytest.fixture
def model(rng):
    model = AttentionSeq2Seq(V, W, D, H, rng, np.float64)
    for array in model.params.values():
        array[...] = 0.5 * rng.standard_normal(array.shape)  # biases too, and embeddings of ordinary size
    return model


@pytest.fixture
def batch(rng):
    source, target = rng.integers(V, size=(B, S)), rng.integers(W, size=(B, T + 1))
    return source, SOURCE_LENGTHS, target[:, :-1], target[:, 1:], TARGET_LENGTHS


def ours(model, batch):
    source, source_lengths, target_in, _, target_lengths = batch
    logits, weights = model.forward(source, source_lengths, target_in, target_lengths)
    loss = model.loss(*batch)
    model.backward()
    return {"logits": logits, "weights": weights, "loss": np.array(loss), **model.grads}


def torchs(model, batch):
    """Every row alone, cut to its own lengths, through nn.LSTM: no padding, no mask, no batch."""
    params = {name: torch.tensor(array, requires_grad=True) for name, array in model.params.items()}

    def lstm(layer, x, state):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        module = torch.nn.LSTM(D, H, batch_first=True, dtype=torch.float64)
        weights = {f"{name}_l0": params[f"{layer}.{name}"] for name in names}
        return torch.func.functional_call(module, weights, (x, state))

    all_logits, all_weights, losses = [], [], []
    for source, source_length, target_in, target_out, target_length in zip(*batch, strict=True):
        source, target_in = torch.tensor(source[:source_length]), torch.tensor(target_in[:target_length])
        hs, state = torch.zeros(1, 0, H, dtype=torch.float64), (torch.zeros(1, 1, H, dtype=torch.float64),) * 2
        if source_length:
            hs, state = lstm("encoder", params["source_embedding.weight"][source][None], state)
        h, _ = lstm("decoder", params["target_embedding.weight"][target_in][None], state)
        weights = torch.softmax(h[0] @ hs[0].T, dim=-1)
        seen = torch.cat([weights @ hs[0], h[0]], dim=-1)
        logits = seen @ params["output.weight"].T + params["output.bias"]
        losses.append(cross_entropy(logits, torch.tensor(target_out[:target_length]), reduction="sum"))
        all_logits.append(logits)
        all_weights.append(torch.nn.functional.pad(weights, (0, S - weights.shape[1])))
    loss = torch.stack(losses).sum() / TARGET_LENGTHS.sum()
    loss.backward()
    result = {
        "logits": pad_sequence(all_logits, batch_first=True),
        "weights": pad_sequence(all_weights, batch_first=True),
        "loss": loss,
        **{name: parameter.grad for name, parameter in params.items()},
    }
    return {name: tensor.detach().numpy() for name, tensor in result.items()}


def test_the_model_is_torchs(model, batch, worst):
    assert worst(ours(model, batch), torchs(model, batch)) < 1e-10


def test_the_model_agrees_with_finite_differences(model, batch, numeric_error):
    model.loss(*batch)
    model.backward()
    assert numeric_error(lambda: model.loss(*batch), model.params, model.grads) < 1e-7


@pytest.mark.parametrize("fault", ["c is not handed over", "the mask is ignored", "values get no gradient"])
def test_a_fault_is_noticed(model, batch, worst, monkeypatch, fault):
    wanted = torchs(model, batch)
    forward, backward, encode = TimeAttention.forward, TimeAttention.backward, AttentionSeq2Seq.encode
    if fault == "c is not handed over":
        cut = lambda self, *a: [part * (k != 2) for k, part in enumerate(encode(self, *a))]  # noqa: E731
        monkeypatch.setattr(AttentionSeq2Seq, "encode", cut)
    elif fault == "the mask is ignored":
        monkeypatch.setattr(TimeAttention, "forward", lambda self, hs, h, mask: forward(self, hs, h))
    else:
        lost = lambda self, d: (0 * backward(self, d)[0], backward(self, d)[1])  # noqa: E731
        monkeypatch.setattr(TimeAttention, "backward", lost)
    assert worst(ours(model, batch), wanted) > 1e-2


def test_generating_is_feeding_the_best_token_back(model, batch):
    """Greedy decoding, step by step, gives the tokens that teacher forcing on its own answer predicts."""
    source, source_lengths, *_ = batch
    bos, eos, steps = 1, 2, 5
    answer = model.generate(source, source_lengths, bos_id=bos, eos_id=eos, max_length=steps)
    fed = np.concatenate([np.full((B, 1), bos), answer[:, :-1]], axis=1)
    logits, _ = model.forward(source, source_lengths, fed, np.full(B, steps))
    ended = np.cumsum(fed == eos, axis=1) > 0
    np.testing.assert_array_equal(answer, np.where(ended, eos, logits.argmax(axis=-1)))
    assert len({tuple(row) for row in answer}) > 1  # a constant answer would prove little


def test_it_learns_to_turn_a_row_around(rng):
    """Small enough to be quick, hard enough that attention has to point somewhere else at every step."""
    from harken.reference import Adam, clip_gradients

    model, optimizer = AttentionSeq2Seq(8, 8, 8, 24, rng), Adam(0.01)
    lengths = np.full(64, 4)
    for _ in range(300):
        source = rng.integers(1, 8, size=(64, 4))
        target = np.concatenate([np.zeros((64, 1), int), source[:, ::-1]], axis=1)
        loss = model.loss(source, lengths, target[:, :-1], target[:, 1:], lengths)
        model.backward()
        clip_gradients(model.grads.values(), 5.0)
        optimizer.update(model.params, model.grads)
    unseen = rng.integers(1, 8, size=(200, 4))
    answer = model.generate(unseen, np.full(200, 4), bos_id=0, eos_id=-1, max_length=4)
    assert loss < 0.1
    assert (answer == unseen[:, ::-1]).all(axis=1).mean() > 0.95
