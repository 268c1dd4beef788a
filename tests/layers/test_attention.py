"""Attention against torch, against the formulas written out, and against the contract (design.md section 2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import harken
from harken import layers
from harken.errors import ShapeError, UsageError
from harken.layers import scores
from harken.layers.attention import (
    AdditiveAttention,
    Attended,
    AttentionLayer,
    DotAttention,
    GeneralAttention,
    MultiHeadAttention,
    build_attention,
)
from harken.layers.masks import mask_from_lengths
from harken.layers.scores import attend, masked_softmax
from harken.testing import check_padding

SIZE = 6
BUILDERS: dict[str, Callable[[], AttentionLayer]] = {
    "dot": lambda: DotAttention(SIZE),
    "scaled-dot": lambda: DotAttention(SIZE, scaled=True),
    "general": lambda: GeneralAttention(SIZE, SIZE),
    "additive": lambda: AdditiveAttention(SIZE, SIZE, 5),
    "additive, linear": lambda: AdditiveAttention(SIZE, SIZE, 5, activation="none"),
    "multi-head": lambda: MultiHeadAttention(SIZE, SIZE, 2),
    "multi-head, no bias": lambda: MultiHeadAttention(SIZE, SIZE, 3, bias=False),
}
every_attention = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
ragged = st.lists(st.integers(0, 4), min_size=1, max_size=3)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scrambled(module: nn.Module) -> nn.Module:
    """All parameters random, biases too, in float64."""
    module = module.double()
    with torch.no_grad():
        for k, parameter in enumerate(module.parameters()):
            parameter.copy_(random(*parameter.shape, seed=100 + k))
    return module


def assert_close(value: Tensor, truth: Tensor, tolerance: float = 1e-10) -> None:
    assert value.shape == truth.shape
    value, truth = value.detach(), truth.detach()
    assert float((value - truth).norm()) <= tolerance * max(float(truth.norm()), 1e-3)


# --- the contract -----------------------------------------------------------------------------------------------


class OneQuery(nn.Module):
    """A learnt query looks at every row."""

    def __init__(self, attention: AttentionLayer) -> None:
        super().__init__()
        self.attention = attention
        self.query = nn.Parameter(random(1, SIZE, seed=7))

    def forward(self, x: Tensor, lengths: Tensor) -> Attended:
        mask = mask_from_lengths(lengths, x.shape[1])
        return self.attention(self.query.expand(x.shape[0], -1), x, mask=mask)


class SelfAttention(nn.Module):
    """Every real step looks at every real step."""

    def __init__(self, attention: AttentionLayer) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor, lengths: Tensor) -> Attended:
        mask = mask_from_lengths(lengths, x.shape[1])
        return self.attention(x, x, x.tanh(), mask.unsqueeze(-1) & mask.unsqueeze(1))  # (B, T, T)


@every_attention
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@settings(max_examples=2, deadline=None)
@given(lengths=ragged)
def test_the_contract(build: Callable[[], AttentionLayer], dtype: torch.dtype, lengths: list[int]) -> None:
    x = random(len(lengths), max(lengths) + 1, SIZE)
    attention = scrambled(build())
    if getattr(attention, "activation", "") == "none" and dtype == torch.float32:
        return  # the softmax cancels the query: its gradient is 0, and what float32 leaves of it is rounding
    for model in (OneQuery(attention), SelfAttention(attention)):
        check_padding(model, x, torch.tensor(lengths), dtype=dtype).raise_if_failed()


@every_attention
@settings(max_examples=2, deadline=None)
@given(lengths=ragged)
def test_weights_are_weights_and_empty_rows_are_zero(build: Callable[[], AttentionLayer], lengths: list[int]) -> None:
    keys, query = random(len(lengths), 5, SIZE), random(len(lengths), 3, SIZE, seed=1)
    mask = mask_from_lengths(torch.tensor(lengths), 5)
    context, weights = scrambled(build())(query, keys, mask=mask)
    by_row = weights.flatten(1, -2)  # (B, heads * T, S)
    assert bool((weights >= 0).all())
    for row, length in enumerate(lengths):
        assert bool((by_row[row, :, length:] == 0).all())
        assert_close(by_row[row].sum(-1), torch.full_like(by_row[row, :, 0], float(length > 0)))
        if length == 0:
            assert bool((context[row] == 0).all())


class Unmasked(OneQuery):
    def forward(self, x: Tensor, lengths: Tensor) -> Attended:
        return self.attention(self.query.expand(x.shape[0], -1), x)


@every_attention
def test_a_forgotten_mask_is_caught(build: Callable[[], AttentionLayer]) -> None:
    assert not check_padding(Unmasked(scrambled(build())), random(3, 5, SIZE), torch.tensor([5, 2, 3])).passed


@every_attention
@pytest.mark.parametrize("sizes", [(0, 3, 4), (2, 0, 4), (2, 3, 0)], ids=["B=0", "T=0", "S=0"])
def test_axes_of_size_zero(build: Callable[[], AttentionLayer], sizes: tuple[int, int, int]) -> None:
    batch, steps, source = sizes
    keys = random(batch, source, SIZE).requires_grad_()
    context, weights = scrambled(build())(random(batch, steps, SIZE), keys)
    assert context.shape == (batch, steps, SIZE)
    assert weights.shape[0] == batch
    assert weights.shape[-2:] == (steps, source)
    assert bool((context == 0).all())
    context.sum().backward()
    assert keys.grad is not None
    assert not keys.grad.isnan().any()


# --- the formulas, one query and one key at a time ----------------------------------------------------------------


def score_of(attention: AttentionLayer, q: Tensor, k: Tensor) -> Tensor:
    match attention:
        case DotAttention(scaled=scaled):
            return q.dot(k) / (len(k) ** 0.5 if scaled else 1)
        case GeneralAttention():
            return k.dot(attention.query.weight @ q)
        case AdditiveAttention(activation=activation):
            inner = attention.query.weight @ q + attention.key.weight @ k + attention.key.bias
            return attention.energy.weight[0].dot(inner.tanh() if activation == "tanh" else inner)
    raise NotImplementedError


@pytest.mark.parametrize("name", [name for name in BUILDERS if "multi" not in name])
def test_scores_follow_their_formula(name: str) -> None:
    if name in ("dot", "scaled-dot"):
        attention, key_size = scrambled(BUILDERS[name]()), SIZE
    elif name == "general":
        attention, key_size = scrambled(GeneralAttention(SIZE, 4)), 4
    else:
        activation = "none" if "linear" in name else "tanh"
        attention, key_size = scrambled(AdditiveAttention(SIZE, 4, 5, activation=activation)), 4
    assert isinstance(attention, AttentionLayer)
    query, keys, values = random(3, 4, SIZE), random(3, 5, key_size, seed=1), random(3, 5, 2, seed=2)
    lengths = [5, 2, 0]
    inputs = [query, keys, values, *attention.parameters()]
    for tensor in inputs[:3]:
        tensor.requires_grad_()

    context, weights = attention(query, keys, values, mask_from_lengths(torch.tensor(lengths), 5))
    expected = []
    for b, length in enumerate(lengths):
        for t in range(4):
            scores = [score_of(attention, query[b, t], keys[b, s]) for s in range(length)]
            p = torch.stack(scores).softmax(0) if scores else query.new_zeros(0)
            assert_close(weights[b, t, :length], p)
            expected.append(p @ values[b, :length])
    truth = torch.stack(expected).reshape(3, 4, 2)
    assert_close(context, truth)

    loss_weights = random(3, 4, 2, seed=3)
    gradients = torch.autograd.grad((context * loss_weights).sum(), inputs, allow_unused=True)
    truths = torch.autograd.grad((truth * loss_weights).sum(), inputs, allow_unused=True)
    for gradient, true_gradient in zip(gradients, truths, strict=True):
        assert gradient is not None
        assert true_gradient is not None
        assert_close(gradient, true_gradient)


@every_attention
def test_a_query_without_time_is_one_step(build: Callable[[], AttentionLayer]) -> None:
    attention = scrambled(build())
    query, keys, mask = random(3, 4, SIZE), random(3, 5, SIZE, seed=1), mask_from_lengths(torch.tensor([5, 1, 3]), 5)
    context, weights = attention(query, keys, mask=mask)
    for t in range(4):
        step = attention(query[:, t], keys, mask=mask)
        assert_close(step.context, context[:, t])
        assert_close(step.weights, weights[..., t, :])


@every_attention
@pytest.mark.parametrize("own", [False, True], ids=["(B, S)", "(B, T, S)"])
def test_the_mask_follows_the_data_to_its_device(build: Callable[[], AttentionLayer], own: bool) -> None:
    mask = mask_from_lengths(torch.tensor([4, 0]), 5)  # on the CPU; everything else is not
    mask = mask.unsqueeze(1).expand(-1, 3, -1) if own else mask
    query, keys = (torch.empty(2, size, SIZE, device="meta") for size in (3, 5))
    attended = build().to("meta")(query, keys, mask=mask)
    assert {part.device.type for part in attended} == {"meta"}


@every_attention
def test_the_mask_of_a_query_may_be_its_own(build: Callable[[], AttentionLayer]) -> None:
    attention = scrambled(build())
    query, keys, mask = random(2, 3, SIZE), random(2, 3, SIZE, seed=1), torch.ones(2, 3, 3).tril(-1).bool()
    context, weights = attention(query, keys, mask=mask)
    assert bool((context[:, 0] == 0).all())  # the first step has no past
    for t in range(1, 3):
        step = attention(query[:, t], keys[:, :t])
        assert_close(step.context, context[:, t])
        assert_close(step.weights, weights[..., t, :t])


# --- torch's multi-head attention ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("key_size", "value_size"), [(8, 8), (5, 3)])
@pytest.mark.parametrize("steps", [4, None])
def test_multi_head_equals_torch(bias: bool, key_size: int, value_size: int, steps: int | None) -> None:
    theirs = scrambled(nn.MultiheadAttention(8, 2, bias=bias, kdim=key_size, vdim=value_size, batch_first=True))
    assert isinstance(theirs, nn.MultiheadAttention)
    ours = MultiHeadAttention.from_torch(theirs)
    query = random(3, steps or 1, 8).requires_grad_()
    keys, values = random(3, 5, key_size, seed=1).requires_grad_(), random(3, 5, value_size, seed=2).requires_grad_()
    mask = mask_from_lengths(torch.tensor([5, 1, 3]), 5)

    truth = Attended(*theirs(query, keys, values, key_padding_mask=~mask, average_attn_weights=False))
    found = ours(query if steps else query.squeeze(1), keys, values, mask)
    if steps is None:
        found = Attended(found.context.unsqueeze(1), found.weights.unsqueeze(-2))
    assert_close(found.context, truth.context)
    assert_close(found.weights, truth.weights)

    cotangent, weights_cotangent = random(*truth.context.shape, seed=3), random(*truth.weights.shape, seed=4)
    inputs = [query, keys, values]

    def gradients(attended: Attended, module: nn.Module) -> list[Tensor]:
        loss = (attended.context * cotangent).sum() + (attended.weights * weights_cotangent).sum()
        return list(torch.autograd.grad(loss, [*inputs, *module.parameters()]))

    mine, torchs = gradients(found, ours), gradients(truth, theirs)
    for gradient, true_gradient in zip(mine[:3], torchs[:3], strict=True):
        assert_close(gradient, true_gradient)
    by_name = dict(zip([name for name, _ in ours.named_parameters()], mine[3:], strict=True))
    true_by_name = dict(zip([name for name, _ in theirs.named_parameters()], torchs[3:], strict=True))
    if key_size == 8:
        stacked = [by_name[f"{part}.weight"] for part in ("query", "key", "value")]
        assert_close(torch.cat(stacked), true_by_name["in_proj_weight"])
    else:
        for part in ("query", "key", "value"):
            assert_close(by_name[f"{part}.weight"], true_by_name[f"{part[0]}_proj_weight"])
    assert_close(by_name["output.weight"], true_by_name["out_proj.weight"])
    if bias:
        stacked = [by_name[f"{part}.bias"] for part in ("query", "key", "value")]
        assert_close(torch.cat(stacked), true_by_name["in_proj_bias"])
        assert_close(by_name["output.bias"], true_by_name["out_proj.bias"])


def test_from_torch_copies() -> None:
    theirs = nn.MultiheadAttention(8, 2, dropout=0.5).eval()
    ours = MultiHeadAttention.from_torch(theirs)
    assert not ours.training
    with torch.no_grad():
        ours.output.weight.zero_()
    assert bool((theirs.out_proj.weight != 0).any())
    with pytest.raises(UsageError, match="add_zero_attn"):
        MultiHeadAttention.from_torch(nn.MultiheadAttention(8, 2, add_zero_attn=True))


def test_multi_head_dropout_leaves_the_returned_weights_whole() -> None:
    attention = scrambled(MultiHeadAttention(8, 2, 2, dropout=0.5))
    query, keys = random(2, 3, 8), random(2, 5, 2, seed=1)
    torch.manual_seed(0)
    dropped = attention.train()(query, keys)
    torch.manual_seed(0)
    again = attention(query, keys)
    kept = attention.eval()(query, keys)
    assert_close(again.context, dropped.context)
    assert_close(dropped.weights, kept.weights)
    assert float((dropped.context - kept.context).detach().norm()) > 0.1


# --- pure functions, names, refusals ------------------------------------------------------------------------------


def test_masked_softmax_ignores_whatever_is_masked() -> None:
    scores = torch.tensor([[1.0, 2.0, torch.inf, torch.nan], [torch.nan] * 4], requires_grad=True)
    weights = masked_softmax(scores, torch.tensor([[True, True, False, False], [False] * 4]))
    truth = torch.tensor([1.0, 2.0]).softmax(0)
    assert weights.tolist() == [[*truth.tolist(), 0.0, 0.0], [0.0] * 4]
    weights[:, 0].sum().backward()
    p, q = truth.tolist()
    assert scores.grad is not None
    assert torch.allclose(scores.grad, torch.tensor([[p * q, -p * q, 0.0, 0.0], [0.0] * 4]))


def test_attend_takes_scores_without_time() -> None:
    scores, values = random(3, 5), random(3, 5, 2, seed=1)
    mask = mask_from_lengths(torch.tensor([5, 0, 2]), 5)
    context, weights = attend(scores, values, mask)
    assert_close(weights, masked_softmax(scores.unsqueeze(1), mask).squeeze(1))
    assert_close(context, torch.einsum("bs,bsv->bv", weights, values))


@pytest.mark.parametrize(
    ("score", "kind"),
    [
        ("dot", DotAttention),
        ("scaled-dot", DotAttention),
        ("general", GeneralAttention),
        ("additive", AdditiveAttention),
        ("multi-head", MultiHeadAttention),
    ],
)
def test_build_attention_by_name(score: str, kind: type[AttentionLayer]) -> None:
    key_size = 8 if "dot" in score else 4
    attention = build_attention(score, 8, key_size, 2)
    assert type(attention) is kind
    assert getattr(attention, "scaled", False) is (score == "scaled-dot")
    context, _ = attention(torch.ones(2, 3, 8), torch.ones(2, 5, key_size))
    assert context.shape == (2, 3, attention.output_size)


def test_a_name_means_one_thing_here_and_at_the_top() -> None:
    """`harken.Attention` is what `explain` returns; what the layers share is another thing."""
    for name in {*harken.__all__, "Attention"} & {*vars(layers)}:
        assert getattr(layers, name) is getattr(harken, name), name


@every_attention
def test_a_new_module_has_no_parameter_that_was_not_drawn(build: Callable[[], AttentionLayer]) -> None:
    torch.manual_seed(0)
    first = build().state_dict()
    torch.manual_seed(0)
    again = build().state_dict()
    for name, value in first.items():
        assert torch.equal(value, again[name])
        assert bool((value == 0).all()) is name.endswith("bias")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MultiHeadAttention(64, 64, 6), r"num_heads \(6\) must divide query_size \(64\)"),
        (lambda: build_attention("dot", 8, 16), r"query_size \(8\) equal to key_size \(16\)"),
        (lambda: build_attention("cosine", 8, 8), r"score \('cosine'\) must be dot"),
        (lambda: AdditiveAttention(4, 4, 4, activation="relu"), r"activation \('relu'\) must be"),
        (lambda: GeneralAttention(0, 4), r"query_size \(0\) must be at least 1"),
    ],
)
def test_refused_options(build: Callable[[], AttentionLayer], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": torch.ones(2, 3, 7)}, r"query \(2, 3, 7\)"),
        ({"query": torch.ones(3, 3, 6)}, r"keys \(2, 5, 6\) must be .* B \(3\)"),
        ({"keys": torch.ones(2, 5, 7)}, r"keys \(2, 5, 7\)"),
        ({"values": torch.ones(2, 4, 6)}, r"values \(2, 4, 6\)"),
        ({"mask": torch.ones(2, 5)}, "mask has dtype torch.float32 but must be bool"),
        ({"mask": torch.ones(5, 2).bool()}, r"mask \(5, 2\) does not fit scores \(2, 3, 5\)"),
        ({"mask": torch.ones(2, 4, 5).bool()}, r"mask \(2, 4, 5\) does not fit"),
        ({"mask": torch.ones(2, 1, 3, 5).bool()}, r"mask \(2, 1, 3, 5\) does not fit"),
    ],
)
def test_refused_tensors(arguments: dict[str, Tensor], message: str) -> None:
    fitting = {"query": torch.ones(2, 3, 6), "keys": torch.ones(2, 5, 6)}
    with pytest.raises(ShapeError, match=message):
        DotAttention(6)(**(fitting | arguments))


@pytest.mark.parametrize("name", ["dot", "additive", "multi-head"])
def test_compiles_and_exports(name: str) -> None:
    attention = scrambled(BUILDERS[name]())
    query, keys = random(3, 4, SIZE), random(3, 5, SIZE, seed=1)
    mask = mask_from_lengths(torch.tensor([5, 0, 3]), 5)
    torch._dynamo.reset()  # all attention modules share one forward, and each counts as its recompilation
    compiled = torch.compile(attention, fullgraph=True, backend="aot_eager")
    batch, steps, source = (torch.export.Dim(name, max=64) for name in ("batch", "steps", "source"))
    exported = torch.export.export(
        attention,
        (query, keys, None, mask),
        dynamic_shapes=({0: batch, 1: steps}, {0: batch, 1: source}, None, {0: batch, 1: source}),
    ).module()
    for b, t, s in [(3, 4, 5), (1, 1, 1), (5, 2, 9)]:
        query, keys = random(b, t, SIZE), random(b, s, SIZE, seed=1)
        mask = mask_from_lengths(torch.arange(b) % (s + 1), s)
        truth = attention(query, keys, None, mask)
        for replay in (compiled, exported):
            found = replay(query, keys, None, mask)
            assert_close(found[0], truth.context)
            assert_close(found[1], truth.weights)


@pytest.mark.parametrize("size", [1, 40, 10**6])
def test_additive_scores_are_the_same_in_pieces(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little is held at once, scores and gradients are those of one product."""
    torch.manual_seed(0)
    inputs = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in
              ((2, 3, 4), (2, 7, 5), (6, 4), (6, 5), (6,), (6,))]  # fmt: skip
    incoming = torch.randn(2, 3, 7, dtype=torch.float64)
    query, keys, w_q, w_k, bias, v = inputs
    expected = torch.tanh((query @ w_q.T).unsqueeze(2) + (keys @ w_k.T + bias).unsqueeze(1)) @ v
    wanted = torch.autograd.grad(expected, inputs, incoming)
    monkeypatch.setattr(scores, "HELD", size)
    found = scores.additive_scores(*inputs)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    for ours, theirs in zip(torch.autograd.grad(found, inputs, incoming), wanted, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_additive_attention_keeps_no_tensor_of_queries_by_keys_by_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "HELD", 1000)
    layer, kept = AdditiveAttention(8, 8, 50), []
    query, keys = torch.randn(2, 4, 8, requires_grad=True), torch.randn(2, 300, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        layer(query, keys).context.sum().backward()
    assert max(kept) < 2 * 4 * 300 * 50


MASKS = {
    "none": None,
    "(B, S), a row empty": mask_from_lengths(torch.tensor([5, 0, 3]), 5),
    "(B, T, S), queries that see nothing": mask_from_lengths(torch.tensor([[5, 1, 0, 4], [0] * 4, [2, 3, 0, 1]]), 5),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("own_values", [False, True])
def test_the_written_gradient_of_dot_attention_is_autograds(mask: Tensor | None, own_values: bool) -> None:
    """Gradients of the first and the second order, through the context and through the weights."""
    query, keys, values = (random(3, n, SIZE, seed=n).requires_grad_() for n in (4, 5, 5))
    values = random(3, 5, SIZE, seed=6).requires_grad_() if own_values else keys
    inputs = (query, keys, values) if own_values else (query, keys)
    into = random(3, 4, SIZE, seed=8), random(3, 4, 5, seed=9)

    def gradients(attended: Attended) -> list[Tensor]:
        first = torch.autograd.grad(attended, inputs, into, create_graph=True)
        second = torch.autograd.grad([g.square().sum() for g in first], inputs)
        return [*attended, *first, *second]

    found = gradients(scores.dot_attend(query, keys, values, mask, scaled=True))
    wanted = gradients(attend(scores.dot_scores(query, keys, scaled=True), values, mask))
    for ours, theirs in zip(found, wanted, strict=True):
        assert_close(ours, theirs, 1e-12)


def test_dot_attention_vmaps() -> None:
    queries, keys = random(7, 3, 4, SIZE), random(3, 5, SIZE, seed=1)
    together = torch.func.vmap(lambda query: scores.dot_attend(query, keys, keys))(queries)
    for one, query in enumerate(queries):
        assert_close(together.context[one], scores.dot_attend(query, keys, keys).context)
