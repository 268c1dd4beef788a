import numpy as np
import pytest
import torch

import harken.reference.past as past
from harken.reference import PastAttention, masked_softmax

B, T, H, M, A = 4, 6, 5, 3, 4
LENGTHS, MEMORY_LENGTHS = np.array([2, 6, 0, 5]), np.array([3, 0, 2, 1])
SHAPES = {
    "dot": {},
    "scaled-dot": {},
    "general": {"weight": (H, H)},
    "additive": {"query_weight": (A, H), "key_weight": (A, H), "bias": (A,), "energy": (A,)},
}
every_score = pytest.mark.parametrize("score", SHAPES)
with_and_without_itself = pytest.mark.parametrize("include_current", [False, True])


@pytest.fixture
def inputs(rng):
    return {"states": rng.standard_normal((B, T, H)), "memory": rng.standard_normal((B, M, H))}


@pytest.fixture
def cotangents(rng):
    return [rng.standard_normal(shape) for shape in ((B, T, H), (B, T, M + T), (B, M, H))]


@pytest.fixture
def make(rng):
    """make(score, include_current): with random parameters, the same for all that are made."""
    params = {score: {name: rng.standard_normal(size) for name, size in own.items()} for score, own in SHAPES.items()}
    return lambda score, include_current: PastAttention(
        M, score=score, include_current=include_current, **params[score]
    )


def ours(layer, inputs, cotangents):
    contexts, weights, after, after_lengths = layer.forward(inputs["states"], LENGTHS, inputs["memory"], MEMORY_LENGTHS)
    dstates, dmemory = layer.backward(*cotangents)
    return {
        **{"contexts": contexts, "weights": weights, "after": after, "after_lengths": after_lengths},
        **{"dstates": dstates, "dmemory": dmemory},
        **{f"d{name}": grad for name, grad in layer.grads.items()},
    }


def torch_scores(layer, params, h):
    """All pairs of a text's steps, (N, N)."""
    match layer.score:
        case "dot":
            return h @ h.T
        case "scaled-dot":
            return h @ h.T / H**0.5
        case "general":
            return h @ params["weight"].T @ h.T
    pairs = (h @ params["query_weight"].T)[:, None] + (h @ params["key_weight"].T)[None] + params["bias"]
    return torch.tanh(pairs) @ params["energy"]


def torchs(layer, inputs, cotangents):
    """Row by row, all steps in one product with a mask of -inf; rows of nothing but that are left out."""
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in {**inputs, **layer.params}.items()}
    outputs = [torch.zeros(array.shape, dtype=torch.float64) for array in cotangents]
    contexts, weights, after = outputs
    for row, (length, before) in enumerate(zip(LENGTHS, MEMORY_LENGTHS, strict=True)):
        h = torch.cat([tensors["memory"][row, M - before :], tensors["states"][row, :length]])  # (N, H)
        back = torch.arange(len(h))[:, None] - torch.arange(len(h))  # how many steps back, (N, N)
        seen = (back >= 1 - layer.include_current) & (back <= M)
        some = seen.any(1) & (torch.arange(len(h)) >= before)
        scores = torch_scores(layer, tensors, h).masked_fill(~seen, -torch.inf)
        a = torch.zeros_like(scores)
        a[some] = torch.softmax(scores[some], dim=-1)
        contexts[row, :length] = (a @ h)[before:]
        weights[row, :length, M - before : M + length] = a[before:]
        after[row, M - min(M, len(h)) :] = h[-M:] if len(h) else h
    sum((value * torch.tensor(by)).sum() for value, by in zip(outputs, cotangents, strict=True)).backward()
    values = zip(("contexts", "weights", "after"), outputs, strict=True)
    return {
        **{name: value.detach().numpy() for name, value in values},
        "after_lengths": np.minimum(M, LENGTHS + MEMORY_LENGTHS),
        **{f"d{name}": tensor.grad.numpy() for name, tensor in tensors.items()},
    }


@every_score
@with_and_without_itself
def test_attention_over_the_past_is_torchs(score, include_current, make, inputs, cotangents, worst):
    layer = make(score, include_current)
    assert worst(ours(layer, inputs, cotangents), torchs(layer, inputs, cotangents)) < 1e-10


@every_score
@with_and_without_itself
def test_attention_over_the_past_agrees_with_finite_differences(
    score, include_current, make, inputs, cotangents, numeric_error
):
    layer = make(score, include_current)
    arrays = {**inputs, **layer.params}
    got = ours(layer, inputs, cotangents)

    def loss():
        found = layer.forward(inputs["states"], LENGTHS, inputs["memory"], MEMORY_LENGTHS)
        return float(sum((value * by).sum() for value, by in zip(found, cotangents, strict=False)))

    assert numeric_error(loss, arrays, {name: got[f"d{name}"] for name in arrays}) < 1e-7


@every_score
def test_what_is_not_real_does_not_matter(score, make, inputs, cotangents, worst):
    layer = make(score, False)
    clean = ours(layer, inputs, cotangents)
    padding = np.arange(T) >= LENGTHS[:, None]
    empty = np.arange(M) < M - MEMORY_LENGTHS[:, None]
    inputs["states"][padding], inputs["memory"][empty] = 1e6, 1e6
    got = ours(layer, inputs, cotangents)
    assert worst(got, clean) == 0
    assert not any(got[name][padding].any() for name in ("contexts", "weights", "dstates"))
    assert not got["dmemory"][empty].any()


@every_score
@with_and_without_itself
def test_two_windows_are_one(score, include_current, make, inputs, rng, worst):
    layer, cut = make(score, include_current), 4
    states, memory, full = inputs["states"], inputs["memory"], np.full(B, T)
    dcontexts = rng.standard_normal((B, T, H))
    contexts, _, after, _ = layer.forward(states, full, memory, MEMORY_LENGTHS)
    dstates, dmemory = layer.backward(dcontexts)
    whole = {"contexts": contexts, "after": after, "dstates": dstates, "dmemory": dmemory, **layer.grads}

    first, _, between, lengths = layer.forward(states[:, :cut], np.full(B, cut), memory, MEMORY_LENGTHS)
    second, _, after, _ = layer.forward(states[:, cut:], np.full(B, T - cut), between, lengths)
    dsecond, dbetween = layer.backward(dcontexts[:, cut:])
    grads = layer.grads
    layer.forward(states[:, :cut], np.full(B, cut), memory, MEMORY_LENGTHS)
    dfirst, dmemory = layer.backward(dcontexts[:, :cut], dafter=dbetween)
    pieces = {
        **{"contexts": np.concatenate([first, second], 1), "after": after},
        **{"dstates": np.concatenate([dfirst, dsecond], 1), "dmemory": dmemory},
        **{name: grads[name] + grad for name, grad in layer.grads.items()},
    }
    assert worst(pieces, whole) < 1e-12


def test_parameters_that_a_score_has_not_are_refused(rng):
    for score, params in (("general", {}), ("dot", {"weight": np.eye(H)}), ("cosine", {})):
        with pytest.raises(ValueError, match=rf"score \({score}\)"):
            PastAttention(M, score=score, **params)


def _over_nothing(scores, mask=None):
    return np.exp(scores - scores.max(initial=0))


def _newest_left_out(scores, mask=None):
    return np.append(masked_softmax(scores[:-1]), 0.0) if len(scores) else scores


@pytest.mark.parametrize("fault", [_over_nothing, _newest_left_out])
def test_a_wrong_softmax_is_noticed(fault, make, inputs, cotangents, worst, monkeypatch):
    layer = make("general", False)
    wanted = torchs(layer, inputs, cotangents)
    monkeypatch.setattr(past, "masked_softmax", fault)
    assert worst(ours(layer, inputs, cotangents), wanted) > 1e-2


@every_score
def test_scores_that_get_no_gradient_are_noticed(score, make, inputs, cotangents, worst, monkeypatch):
    layer = make(score, True)
    wanted = torchs(layer, inputs, cotangents)
    monkeypatch.setattr(past, "masked_softmax_backward", lambda weights, dweights: np.zeros_like(weights))
    assert worst(ours(layer, inputs, cotangents), wanted) > 1e-2
