"""Integrated gradients: by how much each step moved the answer, in shares that add up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from harken.data.batching import ModelInputs, Pieces
from harken.data.labels import Head
from harken.models.convolutional import SpectrogramFrontend
from harken.models.frontends import mask_of
from harken.models.sequence import SequenceModel

POINTS = 64  # on the path: a trained model's shares then add up to within 1%
LARGEST = 16_384  # padded steps in one pass, unless there have to be more: bounds the memory
SOUND_POINTS = 128  # of spectrograms: the norms and maxima of their convolutions bend the path, to within 5%
SOUND_LARGEST = 2048  # their convolutions keep some ten thousand numbers for every step


class Attributed(NamedTuple):
    """How much each step contributed."""

    values: Tensor  # (N, L), summed over the channels of a step
    change: Tensor  # (B,) F(x) - F(0): what a row's values should add up to


class Attributions(NamedTuple):
    """What each step of a batch contributed to the logit of its answer."""

    steps: Tensor  # (B, T), 0 on padding
    words: Tensor | None  # of sentences: (N, L), what each word contributed; a step is the sum of its sentence
    places: Tensor | None  # (B, T): which of the N sentences is which step
    change: Tensor  # (B,) what a row's steps should add up to: its logit minus that of the baseline
    error: Tensor  # (B,) what they miss of it, absolute


def integrated_gradients(
    function: Callable[[Tensor, int], Tensor],
    x: Tensor,
    *,
    points: int = POINTS,
    largest: int = LARGEST,
    crowded: bool = False,
) -> Attributed:
    """Attribute F(x) - F(0) to the steps of x along the straight line from 0.

    Sundararajan et al. 2017, equations 1 and 3; the sum over channels is the attribution of a step.
    Differs from equation 3: the gradient is taken in the middle of each of the ``points`` pieces, not at its end,
    which makes the sum exact for quadratic functions and the error smaller for all smooth ones; and the pieces need not
    be of equal length.

    Args:
        function: F of k copies of x, one after the other (k·N, L, E), and of k: one number for each row, (k·B,). A
            row's number must depend on its own steps alone. N is B, or the rows' steps where those have a level below.
        x: (N, L, E).
        points: at how many places of the path the gradient is taken.
        largest: most steps k·N·L in one pass; k is at least 1.
        crowded: the pieces grow from 0 on: the n-th ends at (n / points)². A norm makes little of the size of what it
            reads, so where it comes first most of the change is near 0.
    """
    x = x.detach()
    with torch.no_grad():
        change = function(x, 1) - function(torch.zeros_like(x), 1)  # (B,)
    ends = torch.arange(points + 1, device=x.device, dtype=x.dtype) / points  # of the pieces
    if crowded:
        ends = ends.square()
    middles, widths = (ends[1:] + ends[:-1]) / 2, ends.diff()
    total = torch.zeros_like(x)
    copies = max(1, largest // max(x.shape[0] * x.shape[1], 1))
    parts = zip(torch.split(middles, copies), torch.split(widths, copies), strict=True)
    for shares, wide in parts if x.numel() else ():
        inputs = (shares.view(-1, 1, 1, 1) * x).flatten(0, 1).requires_grad_()  # (k·N, L, E)
        with torch.enable_grad(), backward_in_eval_mode(x):
            (gradient,) = torch.autograd.grad(function(inputs, len(shares)).sum(), inputs)
        total += torch.einsum("k,knle->nle", wide, gradient.view(len(shares), *x.shape))
    return Attributed((total * x).sum(-1), change)


def attribute(
    model: SequenceModel, inputs: ModelInputs, head: Head, *, points: int | None = None, largest: int | None = None
) -> Attributions:
    """Integrated gradients of the logit of each row's own answer, from what `SequenceModel.embed` gives.

    The baseline is 0: vectors of 0 for tokens, and of standardised numbers the mean of the training rows. What is
    explained: the predicted class's logit (of one binary logit z: z or -z); the sum over the labels that are answered,
    or the likeliest label where none is; the sum over the values; the sum over the steps of a tagger.

    Args:
        model: in eval mode, on the inputs' device.
        inputs: B rows.
        head: whose answer.
        points, largest: see `integrated_gradients`; default: `POINTS` and `LARGEST`, of sound `SOUND_POINTS` and
            `SOUND_LARGEST`.
    """
    sound = isinstance(model.frontend, SpectrogramFrontend)
    points = points or (SOUND_POINTS if sound else POINTS)
    largest = largest or (SOUND_LARGEST if sound else LARGEST)
    if model.kind == "sentences":
        inputs = _apart(inputs)
    with torch.no_grad():
        x = model.embed(inputs)  # (B, T, E), or of sentences (N, L, E)
    rows = max(1, largest // max(x.shape[1], 1))
    if inputs.pieces is None and len(x) > rows:
        cut = zip(torch.split(inputs.values, rows), torch.split(inputs.lengths, rows), strict=True)
        some = [attribute(model, ModelInputs(*part, None), head, points=points, largest=largest) for part in cut]
        steps, change, error = (torch.cat([getattr(a, name) for a in some]) for name in ("steps", "change", "error"))
        return Attributions(steps, None, None, change, error)
    with torch.no_grad():
        coefficients = chosen(head, model.forward_embedded(x, inputs).logits[head.name])

    def function(embedded: Tensor, copies: int) -> Tensor:
        logits = model.forward_embedded(embedded, _repeated(inputs, copies)).logits[head.name]
        return (coefficients.repeat(copies, *[1] * (logits.dim() - 1)) * logits).flatten(1).sum(1)  # (k·B,)

    values, change = integrated_gradients(function, x, points=points, largest=largest, crowded=sound)
    steps, words, places = values, None, None
    if model.kind == "sentences":
        assert inputs.pieces is not None
        words, places = values, inputs.pieces.index
        steps = values.new_zeros(places.shape)
        steps[mask_of(inputs)] = values.sum(-1)
    return Attributions(steps, words, places, change, (steps.sum(-1) - change).abs())


def share_of_error(steps: Tensor, error: Tensor) -> Tensor:
    """(B,): the error against all that was attributed, in either direction; what is left may be next to nothing."""
    return error / steps.abs().sum(1).clamp(min=1e-12)


def chosen(head: Head, logits: Tensor) -> Tensor:
    """What multiplies the logits so that their sum is the answer's own: (…, width), mostly 0 and one 1."""
    if head.kind == "values":
        return torch.ones_like(logits)
    if head.kind == "binary" and head.width == 1:
        return torch.where(logits > 0, 1.0, -1.0).to(logits.dtype)
    best = F.one_hot(logits.argmax(-1), head.width).to(logits.dtype)
    if head.kind == "multi-label":
        answered = logits > 0
        return torch.where(answered.any(-1, keepdim=True), answered.to(logits.dtype), best)
    return best


def _apart(inputs: ModelInputs) -> ModelInputs:
    """Every step its own sentence, even where the same one stands twice: shares belong to places."""
    assert inputs.pieces is not None
    ids, lengths, index = inputs.pieces
    real = mask_of(inputs)
    which = index[real]  # (N,)
    numbers = torch.zeros_like(index)
    numbers[real] = torch.arange(len(which), device=index.device)
    return ModelInputs(numbers, inputs.lengths, Pieces(ids[which], lengths[which.to(lengths.device)], numbers))


def _repeated(inputs: ModelInputs, times: int) -> ModelInputs:
    """The batch several times, one after the other."""
    if times == 1:
        return inputs
    values, lengths, pieces = inputs
    if pieces is not None:
        ids, sizes, index = pieces
        shift = torch.arange(times, device=index.device).repeat_interleave(len(index)) * len(ids)  # (k·B,)
        pieces = Pieces(ids.repeat(times, 1), sizes.repeat(times), index.repeat(times, 1) + shift.unsqueeze(1))
    return ModelInputs(values.repeat(times, *[1] * (values.dim() - 1)), lengths.repeat(times), pieces)


def backward_in_eval_mode(x: Tensor) -> contextlib.AbstractContextManager[None]:
    """CuDNN refuses the backward pass of a recurrent layer that is not in training mode; PyTorch's own does not."""
    flags: contextlib.AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=False)
    return flags if x.is_cuda else contextlib.nullcontext()
