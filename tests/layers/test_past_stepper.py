"""`PastStepper`: step by step, attention over the past gives what one pass over the text gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from harken.layers.past import PastAttention
from harken.layers.past_stepper import PastStepper

SIZE, ROOM = 5, 4
SCORES = ["dot", "scaled-dot", "general", "additive"]
every_score = pytest.mark.parametrize("score", SCORES)
with_and_without_itself = pytest.mark.parametrize("include_current", [False, True])


def make(score: str, include_current: bool = False, memory_length: int = ROOM) -> PastAttention:
    """All parameters random, biases too, in float64."""
    layer = PastAttention(SIZE, score=score, memory_length=memory_length, include_current=include_current).double()
    torch.manual_seed(0)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


def text(steps: int, seed: int = 1) -> Tensor:
    return torch.randn(steps, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_close(found: npt.NDArray[np.floating], truth: Tensor, tolerance: float = 1e-12) -> None:
    wanted = truth.detach().numpy()
    assert found.shape == wanted.shape
    assert np.linalg.norm(found - wanted) <= tolerance * max(np.linalg.norm(wanted), 1e-3)


def check_steps(layer: PastAttention, stepper: PastStepper, states: Tensor, tolerance: float = 1e-12) -> None:
    """Contexts of one pass, and its weights over what a step may see, oldest first."""
    context, weights, _ = layer(states.unsqueeze(0))
    room = layer.memory_length
    for t, state in enumerate(states.numpy()):
        assert_close(stepper(state), context[0, t], tolerance)
        seen = slice(room + max(0, t - room), room + t + layer.include_current)  # of [empty memory; text]
        assert_close(stepper.weights, weights[0, t, seen], tolerance)


@every_score
@with_and_without_itself
@pytest.mark.parametrize("memory_length", [1, ROOM, 30])
def test_step_by_step_is_one_pass(score: str, include_current: bool, memory_length: int) -> None:
    layer = make(score, include_current, memory_length)
    check_steps(layer, PastStepper(layer, np.float64), text(3 * ROOM + 2))


@every_score
@with_and_without_itself
def test_float32_is_the_default(score: str, include_current: bool) -> None:
    layer = make(score, include_current).float()
    stepper = PastStepper(layer)
    check_steps(layer, stepper, text(2 * ROOM + 1).float(), 1e-5)
    state = text(1).float().numpy()[0]
    assert stepper(state).dtype == stepper.weights.dtype == np.float32


@every_score
def test_a_first_step_sees_nothing_but_itself_if_it_may(score: str) -> None:
    state = text(1).numpy()[0]
    alone, itself = (PastStepper(make(score, current), np.float64) for current in (False, True))
    assert alone.weights.shape == (0,)
    assert not alone(state).any()
    assert alone.weights.shape == (0,)
    assert np.array_equal(itself(state), state)
    assert itself.weights.tolist() == [1.0]


@every_score
def test_two_texts_do_not_see_each_other(score: str) -> None:
    layer = make(score)
    one, other = PastStepper(layer, np.float64), PastStepper(layer, np.float64)
    texts = text(9), text(9, seed=2)
    contexts = [layer(states.unsqueeze(0)).context[0] for states in texts]
    for t in range(9):
        for stepper, states, context in zip((one, other), texts, contexts, strict=True):
            assert_close(stepper(states[t].numpy()), context[t])


@every_score
def test_what_comes_in_and_goes_out_belongs_to_the_caller(score: str) -> None:
    """A state's array is used again for the next, as the recurrent stepper's is; a context stays what it was."""
    layer, states = make(score), text(9)
    truth, stepper = layer(states.unsqueeze(0)).context[0], PastStepper(layer, np.float64)
    state, contexts, weights = np.empty(SIZE), [], []
    for step in states.numpy():
        state[...] = step
        contexts.append(stepper(state))
        weights.append((stepper.weights, stepper.weights.copy()))
    for context, true_context in zip(contexts, truth, strict=True):
        assert_close(context, true_context)
    assert all(np.array_equal(kept, copied) for kept, copied in weights)


@every_score
def test_weights_are_those_of_the_moment(score: str) -> None:
    layer, states = make(score), text(7)
    truth, stepper = layer(states.unsqueeze(0)).context[0], PastStepper(layer, np.float64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    for step, context in zip(states.numpy(), truth, strict=True):
        assert_close(stepper(step), context)


@every_score
def test_large_scores_do_not_overflow(score: str) -> None:
    layer = make(score)
    check_steps(layer, PastStepper(layer, np.float64), 100 * text(9), 1e-9)


class InTheRingsOrder(PastStepper):
    """Weights by their places in the ring."""

    @property
    def weights(self) -> npt.NDArray[np.floating]:
        return self._weights


class OneTooFar(PastStepper):
    """The newest step takes a place of its own before the oldest gives up its."""

    def __init__(self, layer: PastAttention, dtype: npt.DTypeLike) -> None:
        longer = PastAttention(SIZE, memory_length=layer.memory_length + 1, include_current=layer.include_current)
        super().__init__(longer.double(), dtype)


class Itself(PastStepper):
    """Writes a step before it asks."""

    def __init__(self, layer: PastAttention, dtype: npt.DTypeLike) -> None:
        super().__init__(layer, dtype)
        self._current = True


@pytest.mark.parametrize("fault", [InTheRingsOrder, OneTooFar, Itself])
def test_planted_faults_are_noticed(fault: Callable[..., PastStepper]) -> None:
    layer = make("dot")
    check_steps(layer, PastStepper(layer, np.float64), text(9))
    with pytest.raises(AssertionError):
        check_steps(layer, fault(layer, np.float64), text(9))
