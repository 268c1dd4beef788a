"""`PastAttention` against the NumPy reference, in windows, and against the contract (design.md section 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harken import reference
from harken.errors import ShapeError, UsageError
from harken.layers.attention import AdditiveAttention, GeneralAttention
from harken.layers.past import Memory, PastAttention, PastOutput, past_mask
from harken.layers.scores import masked_softmax
from harken.testing import check_padding

SIZE, ROOM, STEPS = 5, 3, 6
LENGTHS, WRITTEN = torch.tensor([6, 0, 2, 5]), torch.tensor([0, 2, 3, 1])
SCORES = ["dot", "scaled-dot", "general", "additive"]
every_score = pytest.mark.parametrize("score", SCORES)
with_and_without_itself = pytest.mark.parametrize("include_current", [False, True])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make(score: str = "dot", include_current: bool = False, memory_length: int = ROOM) -> PastAttention:
    """All parameters random, biases too, in float64."""
    layer = PastAttention(SIZE, score=score, memory_length=memory_length, include_current=include_current).double()
    with torch.no_grad():
        for k, parameter in enumerate(layer.parameters()):
            parameter.copy_(random(*parameter.shape, seed=100 + k))
    return layer


def a_memory(written: Tensor = WRITTEN, memory_length: int = ROOM) -> Memory:
    """Random, and 0 where a slot is empty."""
    real = torch.arange(memory_length) >= memory_length - written.unsqueeze(-1)  # (B, M)
    return Memory(random(len(written), memory_length, SIZE, seed=1) * real.unsqueeze(-1), written)


def assert_close(value: Tensor, truth: Tensor, tolerance: float = 1e-10) -> None:
    value, truth = value.detach(), truth.detach()
    assert value.shape == truth.shape
    assert float((value - truth).norm()) <= tolerance * max(float(truth.norm()), 1e-3)


# --- the NumPy reference ------------------------------------------------------------------------------------------


def reference_of(layer: PastAttention, score: str) -> tuple[reference.PastAttention, dict[str, str]]:
    """The same weights; and its name of each of the layer's parameters."""
    names: dict[str, str] = {}
    match layer.attention:
        case GeneralAttention():
            names = {"attention.query.weight": "weight"}
        case AdditiveAttention():
            names = {
                **{"attention.query.weight": "query_weight", "attention.key.weight": "key_weight"},
                **{"attention.key.bias": "bias", "attention.energy.weight": "energy"},
            }
    own = {name: parameter.detach().numpy() for name, parameter in layer.named_parameters()}
    params = {names[name]: value[0] if names[name] == "energy" else value for name, value in own.items()}
    past = reference.PastAttention(layer.memory_length, score=score, include_current=layer.include_current, **params)
    return past, names


def check_against_the_reference(layer: PastAttention, score: str) -> None:
    """Outputs, and the gradients of states, memory and parameters, of ragged rows with memories of unequal lengths."""
    states, memory = random(4, STEPS, SIZE, seed=2).requires_grad_(), a_memory()
    memory.states.requires_grad_()
    found = layer(states, LENGTHS, memory)
    assert isinstance(found, PastOutput)

    oracle, names = reference_of(layer, score)
    arrays = states.detach().numpy(), LENGTHS.numpy(), memory.states.detach().numpy(), memory.lengths.numpy()
    contexts, weights, after, after_lengths = map(torch.from_numpy, oracle.forward(*arrays))
    assert_close(found.context, contexts)
    assert_close(found.weights, weights)
    assert_close(found.memory.states, after)
    assert torch.equal(found.memory.lengths, after_lengths)

    dcontexts, dweights, dafter = (random(*value.shape, seed=3) for value in (contexts, weights, after))
    dafter *= (torch.arange(ROOM) >= ROOM - after_lengths.unsqueeze(-1)).unsqueeze(-1)  # not of empty slots
    loss = (found.context * dcontexts).sum() + (found.weights * dweights).sum()
    parameters = dict(layer.named_parameters())
    gradients = torch.autograd.grad(
        loss + (found.memory.states * dafter).sum(), [states, memory.states, *parameters.values()]
    )
    dstates, dmemory = oracle.backward(dcontexts.numpy(), dweights.numpy(), dafter.numpy())
    truths = [dstates, dmemory, *(oracle.grads[names[name]] for name in parameters)]
    for gradient, truth in zip(gradients, truths, strict=True):
        assert_close(gradient, torch.from_numpy(truth).view_as(gradient))


@every_score
@with_and_without_itself
def test_equals_the_reference(score: str, include_current: bool) -> None:
    check_against_the_reference(make(score, include_current), score)


@every_score
def test_without_lengths_all_steps_are_real_and_without_memory_there_is_none(score: str) -> None:
    layer, states = make(score), random(3, STEPS, SIZE)
    memory = layer.empty_memory(3, states)
    assert memory.states.shape == (3, ROOM, SIZE)
    assert not memory.states.any()
    assert memory.lengths.tolist() == [0, 0, 0]
    short, told = layer(states), layer(states, torch.full((3,), STEPS), memory)
    for value, truth in zip((*short[:2], *short.memory), (*told[:2], *told.memory), strict=True):
        assert torch.equal(value, truth)


# --- where a step may look ----------------------------------------------------------------------------------------


def check_where_it_looks(layer: PastAttention) -> None:
    """Weights sum to 1 over the steps that may be seen, if there are any, and are exactly 0 on all others."""
    _, weights, _ = layer(random(4, STEPS, SIZE, seed=2), LENGTHS, a_memory())
    assert bool((weights >= 0).all())
    for row, (length, written) in enumerate(zip(LENGTHS.tolist(), WRITTEN.tolist(), strict=True)):
        for t in range(STEPS):
            first = max(t, ROOM - written)  # of [memory; window]: M back, and not before the text began
            seen = list(range(first, ROOM + t + layer.include_current)) if t < length else []
            others = [place for place in range(ROOM + STEPS) if place not in seen]
            assert not weights[row, t, others].any()
            assert bool((weights[row, t, seen] > 0).all())
            assert_close(weights[row, t].sum(), torch.tensor(float(bool(seen)), dtype=torch.float64))


@every_score
@with_and_without_itself
def test_weights_are_weights_of_what_may_be_seen(score: str, include_current: bool) -> None:
    check_where_it_looks(make(score, include_current))


@every_score
def test_a_text_s_first_step_sees_nothing_but_itself_if_it_may(score: str) -> None:
    states = random(2, 4, SIZE)
    alone, itself = make(score)(states), make(score, include_current=True)(states)
    assert not alone.context[:, 0].any()
    assert not alone.weights[:, 0].any()
    assert_close(itself.context[:, 0], states[:, 0])
    assert itself.weights[:, 0, ROOM].tolist() == [1.0, 1.0]


@every_score
@with_and_without_itself
def test_what_comes_later_changes_nothing_before(score: str, include_current: bool) -> None:
    layer, states = make(score, include_current), random(1, STEPS, SIZE)
    changed = states.clone()
    changed[:, 4] = 9.0
    one, other = layer(states), layer(changed)
    assert torch.equal(one.context[:, :4], other.context[:, :4])
    assert torch.equal(one.weights[:, :4], other.weights[:, :4])
    assert not torch.equal(one.context[:, 5], other.context[:, 5])


def test_the_mask_of_a_window_written_out() -> None:
    """M = 2, T = 3; a new text, and one that goes on after a single step and is padded."""
    mask = past_mask(torch.tensor([3, 2]), torch.tensor([0, 1]), 3, 2)
    drawn = ["".join(".x"[int(place)] for place in step) for step in mask.flatten(0, 1)]
    assert drawn == [".....", "..x..", "..xx.", ".x...", ".xx..", "....."]
    itself = past_mask(None, torch.tensor([0]), 3, 2, include_current=True)[0]
    assert ["".join(".x"[int(place)] for place in step) for step in itself] == ["..x..", "..xx.", "..xxx"]


# --- windows ------------------------------------------------------------------------------------------------------


def check_windows(layer: PastAttention, pieces: list[tuple[int, int]]) -> None:
    """Two texts in windows of their own lengths, with memories from before: contexts, weights, memory and gradients."""
    lengths = torch.tensor(pieces).sum(0)  # (2,)
    room = layer.memory_length
    states = random(2, int(lengths.max()), SIZE, seed=4).requires_grad_()
    before = a_memory(torch.tensor([room, room // 2]), room)
    before.states.requires_grad_()
    truth = layer(states, lengths, before)

    memory, seen = before, [0, 0]
    contexts: list[list[Tensor]] = [[], []]
    for piece in pieces:
        window = torch.full((2, max(piece), SIZE), 7.0, dtype=torch.float64)
        for row, size in enumerate(piece):
            window[row, :size] = states[row, seen[row] : seen[row] + size]
        found = layer(window, torch.tensor(piece), memory)
        memory = found.memory
        for row, (size, start) in enumerate(zip(piece, seen, strict=True)):
            contexts[row].append(found.context[row, :size])
            assert_close(  # column M - 1 of a window is the step before it
                found.weights[row, :size, : room + size],
                truth.weights[row, start : start + size, start : start + room + size],
            )
            seen[row] += size
    for row, length in enumerate(lengths.tolist()):
        assert_close(torch.cat(contexts[row]), truth.context[row, :length])
    assert_close(memory.states, truth.memory.states)
    assert torch.equal(memory.lengths, truth.memory.lengths)

    inputs = [states, before.states, *layer.parameters()]
    whole = (truth.context.square().sum() + truth.memory.states.square().sum(),)
    parts = (sum(c.square().sum() for row in contexts for c in row) + memory.states.square().sum(),)
    # Without a step nothing has a gradient but the memory.
    mine, true = (torch.autograd.grad(loss, inputs, allow_unused=True) for loss in (parts, whole))
    for gradient, true_gradient in zip(mine, true, strict=True):
        zeros = torch.zeros(())
        assert_close(*(zeros if g is None or not g.any() else g for g in (gradient, true_gradient)))


@every_score
@with_and_without_itself
@settings(max_examples=6, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5),
    memory_length=st.integers(1, 4),
)
def test_any_windows_are_one_pass(
    score: str, include_current: bool, pieces: list[tuple[int, int]], memory_length: int
) -> None:
    check_windows(make(score, include_current, memory_length), pieces)


@every_score
def test_training_may_cut_the_gradient_between_windows(score: str) -> None:
    layer, states = make(score), random(2, 8, SIZE).requires_grad_()
    memory = layer(states[:, :4]).memory
    context, _, _ = layer(states[:, 4:], None, Memory(memory.states.detach(), memory.lengths))
    (gradient,) = torch.autograd.grad(context.square().sum(), states)
    assert not gradient[:, :4].any()
    assert bool(gradient[:, 4:].any())
    assert_close(context, layer(states).context[:, 4:])


# --- the contract -------------------------------------------------------------------------------------------------


class FromTheBeginning(nn.Module):
    """Every row is a text of its own."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Memory]:
        context, weights, memory = self.layer(x, lengths)
        return context, weights, memory  # no name `weights`: a row of one step has none, where check_padding wants some


class AfterAMemory(FromTheBeginning):
    """Every row goes on after the same text."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(layer)
        self.before = nn.Parameter(random(1, ROOM, SIZE, seed=5))

    def forward(self, x: Tensor, lengths: Tensor) -> PastOutput:
        rows = x.shape[0]
        return self.layer(x, lengths, Memory(self.before.expand(rows, -1, -1), torch.full((rows,), 2)))


def padding_failures(layer: nn.Module, lengths: list[int], dtype: torch.dtype = torch.float64) -> set[str]:
    x = random(len(lengths), max(lengths) + 1, SIZE)
    reports = [check_padding(f(layer), x, torch.tensor(lengths), dtype=dtype) for f in (FromTheBeginning, AfterAMemory)]
    assert {"context", "weights", "memory.states", "memory.lengths", "d before"} <= {r.tensor for r in reports[1].rows}
    return {row.tensor for report in reports for row in report.failures}


@every_score
@with_and_without_itself
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@settings(max_examples=2, deadline=None)
@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=3))
def test_the_contract(score: str, include_current: bool, dtype: torch.dtype, lengths: list[int]) -> None:
    assert padding_failures(make(score, include_current), lengths, dtype) == set()


@every_score
@pytest.mark.parametrize(("batch", "steps"), [(0, 3), (2, 0), (0, 0)])
def test_axes_of_size_zero(score: str, batch: int, steps: int) -> None:
    layer, written = make(score), torch.tensor([3, 1])[:batch]
    memory = a_memory(written)
    for lengths in (None, torch.full((batch,), steps)):
        context, weights, after = layer(random(batch, steps, SIZE), lengths, memory)
        assert context.shape == (batch, steps, SIZE)
        assert weights.shape == (batch, steps, ROOM + steps)
        if steps == 0:
            assert torch.equal(after.states, memory.states)
            assert torch.equal(after.lengths, written)


def test_nothing_is_kept_between_calls() -> None:
    layer = make("general")
    before = dict(vars(layer))
    first = layer(random(2, 4, SIZE)).context
    layer(random(3, 5, SIZE, seed=1), None, a_memory(torch.tensor([1, 2, 3])))
    assert torch.equal(layer(random(2, 4, SIZE)).context, first)
    assert before == vars(layer)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_length": 0}, r"memory_length \(0\) must be at least 1"),
        ({"score": "cosine"}, r"score \('cosine'\) must be dot, scaled-dot, general or additive"),
        ({"score": "multi-head"}, r"score \('multi-head'\) must be"),
        ({"size": 0}, r"size \(0\) must be at least 1"),
    ],
)
def test_refused_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PastAttention(**({"size": SIZE} | options))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"states": torch.ones(2, 4, 3)}, r"states \(2, 4, 3\) must be \(B, T, 5\) for size \(5\)"),
        ({"states": torch.ones(4, SIZE)}, r"states \(4, 5\) must be"),
        ({"lengths": torch.tensor([4])}, r"lengths \(1,\) must be \(B,\) with the states' B \(2\)"),
        ({"memory": Memory(torch.ones(2, 4, SIZE), torch.tensor([1, 1]))}, r"memory \(2, 4, 5\), \(2,\) must be"),
        ({"memory": Memory(torch.ones(1, ROOM, SIZE), torch.tensor([1]))}, r"= \(2, 3, 5\), \(2,\)"),
        ({"memory": Memory(torch.ones(2, ROOM, SIZE), torch.tensor([1]))}, r"give the one that the window before"),
    ],
)
def test_refused_tensors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        PastAttention(SIZE, memory_length=ROOM)(**({"states": torch.ones(2, 4, SIZE)} | arguments))


def test_print_shows_what_it_is() -> None:
    assert "5, memory_length=3, include_current=False" in repr(make())


# --- planted faults: the checks above notice them -----------------------------------------------------------------


def _mask(change: Callable[[Tensor, Tensor], Tensor], **replaced: Any) -> Any:
    """`past_mask` with other options, or with a change of what it gives: of the mask, and how far back a place is."""

    def wrong(lengths: Tensor | None, written: Tensor, steps: int, room: int, **options: Any) -> Tensor:
        mask = past_mask(lengths, written, steps, room, **(options | replaced))
        back = room + torch.arange(steps).unsqueeze(-1) - torch.arange(room + steps)  # (T, M + T)
        return change(mask, back)

    return wrong


def _over_queries(scores: Tensor, mask: Tensor) -> Tensor:
    return masked_softmax(scores.mT, mask.mT).mT


def _over_rows(scores: Tensor, mask: Tensor) -> Tensor:
    return masked_softmax(scores.movedim(0, -1), mask.movedim(0, -1)).movedim(-1, 0)


FAULTS: dict[str, tuple[str, Any]] = {
    "the step itself": ("past.past_mask", _mask(lambda mask, back: mask, include_current=True)),
    "the future": ("past.past_mask", _mask(lambda mask, back: mask | (back == -1))),
    "too far back": ("past.past_mask", _mask(lambda mask, back: mask | (back == ROOM + 1))),
    "not as far as it may": ("past.past_mask", _mask(lambda mask, back: mask & (back < ROOM))),
    "empty slots": ("past.past_mask", _mask(lambda mask, back: mask | ((back > 0) & (back <= ROOM)))),
    "a softmax over the queries": ("scores.masked_softmax", _over_queries),
    "a softmax over the batch": ("scores.masked_softmax", _over_rows),
    "no softmax": ("scores.masked_softmax", lambda scores, mask: scores.exp() * mask),
}


@every_score
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_look_is_noticed(fault: str, score: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, wrong = FAULTS[fault]
    monkeypatch.setattr(f"harken.layers.{where}", wrong)
    with pytest.raises(AssertionError):
        check_where_it_looks(make(score))
    with pytest.raises(AssertionError):
        check_against_the_reference(make(score), score)


class RemembersPadding(PastAttention):
    """The last steps of the window instead of each row's own."""

    def _remember(self, seen: Tensor, lengths: Tensor | None, written: Tensor) -> Memory:
        states, _ = super()._remember(seen, None, written)
        return Memory(states, super()._remember(seen, lengths, written).lengths)


class ForgetsMemory(PastAttention):
    """A window's first steps see no memory."""

    def forward(self, states: Tensor, lengths: Tensor | None = None, memory: Memory | None = None) -> PastOutput:
        found = super().forward(states, lengths, None)
        return found._replace(memory=super().forward(states, lengths, memory).memory)


@pytest.mark.parametrize("fault", [RemembersPadding, ForgetsMemory])
def test_a_wrong_memory_is_noticed(fault: type[PastAttention]) -> None:
    check_windows(make(), [(3, 1), (2, 4)])
    layer = fault(SIZE, memory_length=ROOM)
    with pytest.raises(AssertionError):
        check_windows(layer, [(3, 1), (2, 4)])
    with pytest.raises(AssertionError):
        check_against_the_reference(layer, "dot")


def test_a_memory_of_padding_breaks_the_contract() -> None:
    assert "memory.states" in padding_failures(RemembersPadding(SIZE, memory_length=ROOM), [5, 2, 3])


def test_a_key_without_gradient_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    attend = PastAttention.forward

    def detached(self: PastAttention, states: Tensor, *rest: Any) -> PastOutput:
        look = self.attention.forward
        monkeypatch.setattr(self.attention, "forward", lambda query, keys, mask: look(query, keys.detach(), mask=mask))
        return attend(self, states, *rest)

    monkeypatch.setattr(PastAttention, "forward", detached)
    for score in SCORES:
        with pytest.raises(AssertionError):
            check_against_the_reference(make(score), score)
