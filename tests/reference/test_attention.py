import numpy as np
import pytest
import torch

import harken.reference.attention as attention
from harken.reference import (
    Attention,
    AttentionWeight,
    TimeAttention,
    TimeAttentionLoop,
    WeightSum,
    mask_from_lengths,
    masked_softmax,
)

B, S, T, H = 4, 5, 3, 6
LENGTHS = np.array([2, 5, 0, 3])


@pytest.fixture
def mask():
    return mask_from_lengths(LENGTHS, S)


@pytest.fixture
def inputs(rng):
    return {"hs": rng.standard_normal((B, S, H)), "h": rng.standard_normal((B, T, H))}


@pytest.fixture
def dcontexts(rng):
    return rng.standard_normal((B, T, H))


def ours(layer, inputs, mask, dcontexts):
    contexts, weights = layer.forward(inputs["hs"], inputs["h"], mask)
    dhs, dh = layer.backward(dcontexts)
    return {"contexts": contexts, "weights": weights, "dhs": dhs, "dh": dh}


def torchs(inputs, mask, dcontexts):
    """Row by row, on the real positions only: no mask, no batch, nothing to get wrong."""
    hs, h = (torch.tensor(array, requires_grad=True) for array in inputs.values())
    rows = []
    for row, length in enumerate(mask.sum(axis=1)):
        alone = torch.softmax(h[row] @ hs[row, :length].T, dim=-1)  # (T, length)
        rows.append((alone @ hs[row, :length], torch.nn.functional.pad(alone, (0, S - length))))
    contexts, weights = (torch.stack(tensors) for tensors in zip(*rows, strict=True))
    contexts.backward(torch.tensor(dcontexts))
    result = {"contexts": contexts, "weights": weights, "dhs": hs.grad, "dh": h.grad}
    return {name: tensor.detach().numpy() for name, tensor in result.items()}


@pytest.mark.parametrize("layer", [TimeAttention, TimeAttentionLoop])
def test_attention_over_time_is_torchs(layer, inputs, mask, dcontexts, worst):
    assert worst(ours(layer(), inputs, mask, dcontexts), torchs(inputs, mask, dcontexts)) < 1e-10


def test_the_products_are_the_loop(inputs, mask, dcontexts, worst):
    for real in (mask, None):
        products = ours(TimeAttention(), inputs, real, dcontexts)
        assert worst(products, ours(TimeAttentionLoop(), inputs, real, dcontexts)) < 1e-14


@pytest.mark.parametrize("layer", [TimeAttention, TimeAttentionLoop])
def test_attention_over_time_agrees_with_finite_differences(layer, inputs, mask, dcontexts, numeric_error):
    got = ours(layer(), inputs, mask, dcontexts)
    loss = lambda: float((layer().forward(inputs["hs"], inputs["h"], mask)[0] * dcontexts).sum())  # noqa: E731
    assert numeric_error(loss, inputs, {"hs": got["dhs"], "h": got["dh"]}) < 1e-8


def test_weight_sum_and_one_step_agree_with_finite_differences(rng, mask, numeric_error):
    hs, h, a = rng.standard_normal((B, S, H)), rng.standard_normal((B, H)), rng.standard_normal((B, S))
    da, dcontext = rng.standard_normal((B, S)), rng.standard_normal((B, H))

    weight = AttentionWeight()
    weight.forward(hs, h, mask)
    dhs, dh = weight.backward(da)
    loss = lambda: float((weight.forward(hs, h, mask) * da).sum())  # noqa: E731
    assert numeric_error(loss, {"hs": hs, "h": h}, {"hs": dhs, "h": dh}) < 1e-8

    total = WeightSum()
    total.forward(hs, a)
    dhs, da = total.backward(dcontext)
    loss = lambda: float((total.forward(hs, a) * dcontext).sum())  # noqa: E731
    assert numeric_error(loss, {"hs": hs, "a": a}, {"hs": dhs, "a": da}) < 1e-8

    step = Attention()
    step.forward(hs, h, mask)
    dhs, dh = step.backward(dcontext)
    loss = lambda: float((step.forward(hs, h, mask)[0] * dcontext).sum())  # noqa: E731
    assert numeric_error(loss, {"hs": hs, "h": h}, {"hs": dhs, "h": dh}) < 1e-8


@pytest.mark.parametrize("layer", [TimeAttention, TimeAttentionLoop])
def test_padding_does_not_matter_and_an_empty_source_gives_zeros(layer, inputs, mask, dcontexts, worst):
    clean = ours(layer(), inputs, mask, dcontexts)
    inputs["hs"][~mask] = 1e6
    got = ours(layer(), inputs, mask, dcontexts)
    assert worst(got, clean) < 1e-13
    assert not got["weights"].transpose(0, 2, 1)[~mask].any()
    assert not got["dhs"][~mask].any()
    np.testing.assert_allclose(got["weights"].sum(axis=-1), np.where(LENGTHS > 0, 1, 0)[:, None] * np.ones(T))
    assert not any(got[name][2].any() for name in got)


def _over_the_source_of_all_rows(scores, mask=None):
    return masked_softmax(scores.swapaxes(0, -1)).swapaxes(0, -1)


def _over_the_decoder_steps(scores, mask=None):
    return masked_softmax(scores.swapaxes(1, 2)).swapaxes(1, 2)


def _over_padding_too(scores, mask=None):
    return masked_softmax(scores)


@pytest.mark.parametrize("fault", [_over_the_source_of_all_rows, _over_the_decoder_steps, _over_padding_too])
def test_a_softmax_over_the_wrong_thing_is_noticed(inputs, mask, dcontexts, worst, monkeypatch, fault):
    wanted = torchs(inputs, mask, dcontexts)
    monkeypatch.setattr(attention, "masked_softmax", fault)
    assert worst(ours(TimeAttention(), inputs, mask, dcontexts), wanted) > 1e-2


def test_keys_that_get_no_gradient_are_noticed(inputs, mask, dcontexts, worst, monkeypatch):
    wanted = torchs(inputs, mask, dcontexts)
    monkeypatch.setattr(attention, "masked_softmax_backward", lambda weights, dweights: np.zeros_like(weights))
    assert worst(ours(TimeAttention(), inputs, mask, dcontexts), wanted) > 1e-2
