import numpy as np
import pytest
import torch

import harken.reference.pooling as pooling
from harken.reference import (
    AttentionPooling,
    GatedAttention,
    MaxPooling,
    MeanPooling,
    SumPooling,
    mask_from_lengths,
    masked_softmax,
)

B, T, H, A, K = 4, 5, 3, 6, 2
LENGTHS = np.array([2, 5, 0, 3])
SIMPLE = {"sum": SumPooling, "mean": MeanPooling, "max": MaxPooling}
every_simple = pytest.mark.parametrize("name", SIMPLE)


@pytest.fixture
def mask():
    return mask_from_lengths(LENGTHS, T)


@pytest.fixture
def h(rng):
    return rng.standard_normal((B, T, H))


@pytest.fixture
def params(rng):
    return {
        "weight": rng.standard_normal((A, H)),
        "bias": rng.standard_normal(A),
        "query": rng.standard_normal((K, A)),
    }


@pytest.fixture
def gate_params(rng):
    return {
        "hidden_weight": rng.standard_normal((A, H)),
        "hidden_bias": rng.standard_normal(A),
        "gate_weight": rng.standard_normal((H, A)),
        "gate_bias": rng.standard_normal(H),
    }


def alone(name, row):
    """A row's real steps, (length, H), by torch."""
    if len(row) == 0:
        return row.sum(0)
    return {"sum": row.sum(0), "mean": row.mean(0), "max": row.max(0).values}[name]


def attended_alone(row, params):
    weights = torch.softmax(
        params["query"] @ torch.tanh(row @ params["weight"].T + params["bias"]).T, -1
    )  # (K, length)
    return weights @ row, torch.nn.functional.pad(weights, (0, T - len(row)))


@every_simple
def test_a_simple_pooling_is_torchs_row_by_row(name, h, mask, rng, worst):
    dv = rng.standard_normal((B, H))
    layer = SIMPLE[name]()
    got = {"v": layer.forward(h, mask), "dh": layer.backward(dv)}
    wanted_h = torch.tensor(h, requires_grad=True)
    v = torch.stack([alone(name, wanted_h[row, :length]) for row, length in enumerate(LENGTHS)])
    v.backward(torch.tensor(dv))
    assert worst(got, {"v": v.detach().numpy(), "dh": wanted_h.grad.numpy()}) < 1e-12


@every_simple
def test_a_simple_pooling_agrees_with_finite_differences(name, h, mask, rng, numeric_error):
    dv = rng.standard_normal((B, H))
    layer = SIMPLE[name]()
    layer.forward(h, mask)
    loss = lambda: float((SIMPLE[name]().forward(h, mask) * dv).sum())  # noqa: E731
    assert numeric_error(loss, {"h": h}, {"h": layer.backward(dv)}) < 1e-8


def test_steps_that_share_the_maximum_share_its_gradient():
    layer = MaxPooling()
    layer.forward(np.array([[[1.0], [1.0], [0.0], [1.0]]]), np.array([[True, True, True, False]]))
    assert layer.backward(np.array([[1.0]])).tolist() == [[[0.5], [0.5], [0.0], [0.0]]]


def test_attention_pooling_is_torchs_row_by_row(h, mask, params, rng, worst):
    dv, da = rng.standard_normal((B, K, H)), rng.standard_normal((B, K, T)) * mask[:, None]
    layer = AttentionPooling(**params)
    v, a = layer.forward(h, mask)
    got = {"v": v, "a": a, "dh": layer.backward(dv, da)} | layer.grads

    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in (params | {"h": h}).items()}
    rows = [attended_alone(tensors["h"][row, :length], tensors) for row, length in enumerate(LENGTHS)]
    v, a = (torch.stack(parts) for parts in zip(*rows, strict=True))
    ((v * torch.tensor(dv)).sum() + (a * torch.tensor(da)).sum()).backward()
    wanted = {"v": v, "a": a, "dh": tensors["h"].grad} | {name: tensors[name].grad for name in params}
    assert worst(got, {name: tensor.detach().numpy() for name, tensor in wanted.items()}) < 1e-10


def test_attention_pooling_agrees_with_finite_differences(h, mask, params, rng, numeric_error):
    dv = rng.standard_normal((B, K, H))
    layer = AttentionPooling(**params)
    layer.forward(h, mask)
    grads = {"h": layer.backward(dv)} | layer.grads
    loss = lambda: float((AttentionPooling(**params).forward(h, mask)[0] * dv).sum())  # noqa: E731
    assert numeric_error(loss, params | {"h": h}, grads) < 1e-7


def test_gated_attention_is_torchs_row_by_row(h, mask, gate_params, rng, worst):
    ds = rng.standard_normal((B, T, 2 * H))
    layer = GatedAttention(**gate_params)
    got = {"s": layer.forward(h, mask), "dh": layer.backward(ds)} | layer.grads

    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in (gate_params | {"h": h}).items()}
    rows = []
    for row, length in enumerate(LENGTHS):
        steps = tensors["h"][row, :length]
        hidden = torch.tanh(steps @ tensors["hidden_weight"].T + tensors["hidden_bias"])
        gates = torch.softmax(hidden @ tensors["gate_weight"].T + tensors["gate_bias"], -1)  # (length, H)
        rows.append(torch.nn.functional.pad(torch.cat([steps, gates], -1), (0, 0, 0, T - int(length))))
    s = torch.stack(rows)
    s.backward(torch.tensor(ds))
    wanted = {"s": s, "dh": tensors["h"].grad} | {name: tensors[name].grad for name in gate_params}
    assert worst(got, {name: tensor.detach().numpy() for name, tensor in wanted.items()}) < 1e-10


def test_gated_attention_agrees_with_finite_differences(h, mask, gate_params, rng, numeric_error):
    ds = rng.standard_normal((B, T, 2 * H))
    layer = GatedAttention(**gate_params)
    layer.forward(h, mask)
    grads = {"h": layer.backward(ds)} | layer.grads
    loss = lambda: float((GatedAttention(**gate_params).forward(h, mask) * ds).sum())  # noqa: E731
    assert numeric_error(loss, gate_params | {"h": h}, grads) < 1e-7


def test_padding_and_empty_rows_do_not_matter(h, mask, params, gate_params):
    dirty = np.where(mask[:, :, None], h, 1e6)
    for build in (*SIMPLE.values(), lambda: AttentionPooling(**params), lambda: GatedAttention(**gate_params)):
        clean, other = (layer.forward(x, mask) for layer, x in ((build(), h), (build(), dirty)))
        for a, b in zip(
            *([value] if isinstance(value, np.ndarray) else value for value in (clean, other)), strict=True
        ):
            assert np.allclose(a, b, rtol=0, atol=1e-12)
            assert (a[2] == 0).all()


def test_a_softmax_over_padding_is_noticed(h, mask, params, monkeypatch, worst):
    wanted = AttentionPooling(**params).forward(h, mask)[1]
    monkeypatch.setattr(pooling, "masked_softmax", lambda scores, mask: masked_softmax(scores))
    assert worst({"a": AttentionPooling(**params).forward(h, mask)[1]}, {"a": wanted}) > 1e-2
