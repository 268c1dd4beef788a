"""Does an answer depend on padding, on the batch, or on a row's place in it?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harken.errors import ShapeError, UsageError
from harken.layers.masks import mask_from_lengths
from harken.testing.distance import NEAR_ZERO, TOLERANCE, Worst, common, distance, norm, weights_error
from harken.testing.report import PaddingReport, PaddingRow

# What the cases add; different, so that an output's axes can be told by their growth.
MATES = 3
COLUMNS = 5


def check_padding(
    f: Callable[[Tensor, Tensor], Any],
    x: Tensor,
    lengths: Tensor,
    *,
    dtype: torch.dtype = torch.float64,
    parameters: Mapping[str, Tensor] | None = None,
    zero_padding: bool = True,
) -> PaddingReport:
    """Check that `f` treats every row as if it were alone.

    The cases: the batch as it is, more columns of padding, garbage in the padding, other batch mates, another
    order, empty rows beside it, nothing but empty rows, and the first batch once more (nothing may be kept between
    calls). In each, outputs and the gradients of a random linear loss per row are compared with those of the row
    alone; NaN equals nothing; padding must get no gradient. An output field named `weights` must also be
    attention weights: ≥ 0, and over the last axis summing to 1, or to 0 where nothing was looked at (not for all
    queries of a row that is not empty). On CUDA everything runs under cuDNN, as it does in use; if that refuses the
    backward pass, as it does for `nn.LSTM` and `nn.GRU` in eval mode, all is run again without.

    Args:
        f: a callable of (x, lengths) that returns a tensor, or a nested tuple, named tuple or dict of tensors.
            A module is copied, converted to `dtype` and put into eval mode; anything else must already compute in
            `dtype`, dropout off.
        x: (B, T, ...) right-padded, B ≥ 1; floats are converted to `dtype`; the padding of integers is filled
            with other integers of `x`, and only parameters have gradients then.
        lengths: (B,) int64, 0 ≤ length ≤ T.
        dtype: torch.float64 (tolerance 1e-10) or torch.float32 (1e-5; on CUDA, switch TF32 off around the call).
        parameters: tensors that require gradients, to compare those too; default: a module's own.
        zero_padding: whether outputs along T must be exactly 0 on padding.

    Returns:
        A report; `report.raise_if_failed()` in a test.

    Raises:
        ShapeError: x and lengths that do not fit each other.
        UsageError: a dtype without a tolerance, or an f that returns no tensor with a row for each of x.
    """
    if dtype not in TOLERANCE:
        raise UsageError(f"dtype ({dtype}) must be torch.float64 or torch.float32")
    if x.dim() < 2 or x.shape[0] < 1 or lengths.shape != x.shape[:1]:
        raise ShapeError(
            f"x {tuple(x.shape)} and lengths {tuple(lengths.shape)} must be (B, T, ...) and (B,) with B ≥ 1"
        )
    if bool((lengths < 0).any()) or bool((lengths > x.shape[1]).any()):
        raise ShapeError(f"lengths ({lengths.tolist()}) must lie between 0 and T ({x.shape[1]})")
    if isinstance(f, nn.Module):
        f = copy.deepcopy(f).to(dtype).eval()
        parameters = dict(f.named_parameters()) if parameters is None else parameters
    x = x.detach().to(dtype) if x.is_floating_point() else x.detach()
    check = partial(_Check, f, x, lengths, dtype, dict(parameters or {}), zero_padding)
    try:
        return PaddingReport(tuple(check().rows()))
    except _CudnnRefusal:
        with torch.backends.cudnn.flags(enabled=False):
            return PaddingReport(tuple(check().rows()))


class _CudnnRefusal(Exception):
    """cuDNN's recurrent layers have no backward pass in eval mode; PyTorch's own have."""


class _Axes(NamedTuple):
    """The axis of an output's rows, and those that are x's T (counted without the row axis)."""

    batch: int
    time: tuple[int, ...]


class _Truth(NamedTuple):
    """What one row gives when it is alone."""

    values: dict[str, Tensor]
    cotangents: dict[str, Tensor]
    x_gradient: Tensor | None
    gradients: dict[str, Tensor]


@dataclass
class _Check:
    f: Callable[[Tensor, Tensor], Any]
    x: Tensor
    lengths: Tensor
    dtype: torch.dtype
    parameters: dict[str, Tensor]
    zero_padding: bool
    axes: dict[str, _Axes] = field(init=False)
    truths: list[_Truth] = field(default_factory=list)

    def rows(self) -> Iterator[PaddingRow]:
        generator = torch.Generator().manual_seed(0)
        mask = mask_from_lengths(self.lengths, self.x.shape[1]).to(self.x.device)
        self.x = torch.where(_like(mask, self.x), self.x, 0)
        try:
            self.axes = self._find_axes()
        except Exception as error:  # whatever f raises is the finding
            yield self._raised("batch", None, error)
            return
        if not self.axes:
            raise UsageError("f must return at least one tensor that has a row for each row of x")
        for row, length in enumerate(self.lengths.tolist()):
            try:
                self.truths.append(self._truth(self.x[row : row + 1, : max(length, 1)], length, generator))
            except Exception as error:
                yield self._raised("alone", row, error)
                return  # nothing to compare with
        for case, x, lengths, origin in self._cases(generator):
            try:
                if len(self.truths) in origin:  # what an empty row gives alone, asked for the first time
                    self.truths.append(self._truth(torch.zeros_like(self.x[:1, :1]), 0, generator))
                yield from self._compare(case, x, lengths, origin)
            except Exception as error:
                yield self._raised(case, None, error)

    def _raised(self, case: str, row: int | None, error: Exception) -> PaddingRow:
        if torch.backends.cudnn.enabled and "backward can only be called in training mode" in str(error):
            raise _CudnnRefusal from error
        note = f"raised {type(error).__name__}: {' '.join(str(error).split())[:120]}"
        return PaddingRow(case, "–", row, float("inf"), TOLERANCE[self.dtype], note)

    def _cases(self, generator: torch.Generator) -> Iterator[tuple[str, Tensor, Tensor, list[int | None]]]:
        """(name, x, lengths, which row of x each is: B for the empty row that is added, None for a stranger)."""
        x, lengths = self.x, self.lengths
        size, device = x.shape[0], lengths.device
        everyone: list[int | None] = list(range(size))
        wide = F.pad(x, [0, 0] * (x.dim() - 2) + [0, COLUMNS])
        dirty = self._garbage(wide, lengths, generator)

        yield "batch", x, lengths, everyone
        yield "more padding", wide, lengths, everyone
        yield "garbage in padding", dirty, lengths, everyone

        strange = torch.tensor([wide.shape[1], 1, max(wide.shape[1] // 2, 1)], device=device)
        mates = self._garbage(wide[torch.zeros(MATES, dtype=torch.int64)], torch.zeros_like(strange), generator)
        strangers: list[int | None] = [None]
        yield (
            "other batch mates",
            torch.cat([mates[:1], dirty, mates[1:]]),
            torch.cat([strange[:1], lengths, strange[1:]]),
            strangers + everyone + strangers * 2,
        )
        yield "another order", x.flip(0), lengths.flip(0), everyone[::-1]

        none = torch.zeros(1, dtype=lengths.dtype, device=device)
        nothing = self._garbage(wide[:1], none, generator)
        empty: list[int | None] = [size]
        yield (
            "empty rows",
            torch.cat([nothing, dirty, nothing]),
            torch.cat([none, lengths, none]),
            empty + everyone + empty,
        )
        yield "only empty rows", torch.cat([nothing, nothing]), torch.cat([none, none]), empty * 2
        yield "the batch again", x, lengths, everyone

    def _garbage(self, x: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """`x` with values in its padding that nobody may see."""
        if x.is_floating_point():
            noise = (100 * torch.randn(x.shape, generator=generator, dtype=torch.float64)).to(x)
        else:
            pool = self.x.flatten() if self.x.numel() else torch.zeros(1).to(x)
            noise = pool[torch.randint(len(pool), x.shape, generator=generator).to(x.device)]
        mask = mask_from_lengths(lengths, x.shape[1]).to(x.device)
        return torch.where(_like(mask, x), x, noise)

    def _find_axes(self) -> dict[str, _Axes]:
        """Tell each output's axes by what they do when rows, then columns, are added."""
        more = [0] * MATES  # a batch of one could lose its axis, so there are some more from the beginning
        x, lengths = torch.cat([self.x, self.x[more]]), torch.cat([self.lengths, self.lengths[more]])
        with torch.no_grad():
            base = _flatten(self.f(x, lengths))
            taller = _flatten(self.f(torch.cat([x, x[more]]), torch.cat([lengths, lengths[more]])))
            wider = _flatten(self.f(F.pad(x, [0, 0] * (x.dim() - 2) + [0, COLUMNS]), lengths))
        axes = {}
        for name, value in base.items():
            grown = [k for k, (a, b) in enumerate(zip(value.shape, taller[name].shape, strict=False)) if b == a + MATES]
            if grown and value.shape[grown[0]] == x.shape[0]:
                batch = grown[0]
                sizes = list(enumerate(zip(value.shape, wider[name].shape, strict=False)))
                time = [k for k, (a, b) in sizes if k != batch and a == x.shape[1] and b == a + COLUMNS]
                axes[name] = _Axes(batch, tuple(k - (k > batch) for k in time))
        return axes

    def _run(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x = x.clone().requires_grad_(x.is_floating_point())
        with torch.enable_grad():
            found = _flatten(self.f(x, lengths))
        values = {}
        for name, axes in self.axes.items():
            value = found[name]
            if value.dim() <= axes.batch or value.shape[axes.batch] != x.shape[0]:
                raise ShapeError(f"{name} is {tuple(value.shape)} for {x.shape[0]} row(s) of x: its rows are gone")
            values[name] = value.movedim(axes.batch, 0)
        return x, values

    def _gradients(self, loss: Tensor | None, x: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Gradients of x, and of the parameters; zeros where there is no path."""
        inputs = ([x] if x.requires_grad else []) + list(self.parameters.values())
        found: tuple[Tensor | None, ...] = (None,) * len(inputs)
        if loss is not None and loss.requires_grad and inputs:
            found = torch.autograd.grad(loss, inputs, allow_unused=True)
        whole = tuple(torch.zeros_like(i) if g is None else g for i, g in zip(inputs, found, strict=True))
        x_gradient = whole[0] if x.requires_grad else None
        return x_gradient, dict(zip(self.parameters, whole[len(inputs) - len(self.parameters) :], strict=True))

    def _truth(self, x: Tensor, length: int, generator: torch.Generator) -> _Truth:
        x, values = self._run(x, torch.tensor([length], dtype=self.lengths.dtype, device=self.lengths.device))
        own = {name: self._cut(name, value[0], length) for name, value in values.items()}
        cotangents, loss = {}, None
        for name, value in own.items():
            if value.is_floating_point():
                cotangents[name] = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)
                loss = _add(loss, (value * cotangents[name]).sum())
        x_gradient, gradients = self._gradients(loss, x)
        own = {name: value.detach() for name, value in own.items()}
        return _Truth(own, cotangents, None if x_gradient is None else x_gradient[0, :length], gradients)

    def _cut(self, name: str, value: Tensor, length: int) -> Tensor:
        for axis in self.axes[name].time:
            value = value.narrow(axis, 0, min(length, value.shape[axis]))
        return value

    def _compare(self, case: str, x: Tensor, lengths: Tensor, origin: Sequence[int | None]) -> Iterator[PaddingRow]:
        tolerance = TOLERANCE[self.dtype]
        x, values = self._run(x, lengths)
        known = [(place, row, int(lengths[place])) for place, row in enumerate(origin) if row is not None]
        loss: Tensor | None = None
        for name, value in values.items():
            worst = Worst()
            floor = NEAR_ZERO * max(norm(self.truths[row].values[name]) for _, row, _ in known)
            for place, row, length in known:
                shown = row if row < len(self.x) else None
                truth, own = self.truths[row], self._cut(name, value[place], length)
                true, own = common(truth.values[name], own)
                worst.add(shown, distance(own, true, floor))
                if self.zero_padding and self._leaks(name, value[place], length):
                    worst.add(shown, float("inf"), "padding is not exactly 0")
                if name.split(".")[-1] == "weights":
                    worst.add(shown, weights_error(own, length), "not weights: negative, or not summing to 1")
                if name in truth.cotangents:
                    loss = _add(loss, (own * common(truth.cotangents[name], own)[0]).sum())
            yield PaddingRow(case, name, worst.row, worst.error, tolerance, worst.note)

        x_gradient, gradients = self._gradients(loss, x)
        if x_gradient is not None:
            worst = Worst()
            alone = [self.truths[row].x_gradient for row in range(len(self.x))]
            floor = NEAR_ZERO * max((norm(g) for g in alone if g is not None), default=0.0)
            for place, row, length in known:
                shown, true_gradient = row if row < len(self.x) else None, self.truths[row].x_gradient
                if true_gradient is not None:
                    worst.add(shown, distance(x_gradient[place, :length], true_gradient, floor))
                if bool((x_gradient[place, length:] != 0).any()):
                    worst.add(shown, float("inf"), "padding gets a gradient")
            for place, stranger in enumerate(origin):
                if stranger is None and bool((x_gradient[place] != 0).any()):
                    worst.add(None, float("inf"), "a batch mate gets a gradient")
            yield PaddingRow(case, "d x", worst.row, worst.error, tolerance, worst.note)

        sums = {n: torch.stack([self.truths[row].gradients[n] for _, row, _ in known]).sum(0) for n in gradients}
        floor = NEAR_ZERO * max((norm(g) for truth in self.truths for g in truth.gradients.values()), default=0.0)
        for name, gradient in gradients.items():
            yield PaddingRow(case, f"d {name}", None, distance(gradient, sums[name], floor), tolerance, "")

    def _leaks(self, name: str, value: Tensor, length: int) -> bool:
        return any(
            bool((value.narrow(axis, length, value.shape[axis] - length) != 0).any())
            for axis in self.axes[name].time
            if value.shape[axis] > length
        )


def _flatten(value: Any, name: str = "") -> dict[str, Tensor]:
    """All tensors of a nested result by dotted name; a bare tensor is called "output"."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, Tensor):
        return {name or "output": value}
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, tuple | list):
        items = zip(getattr(value, "_fields", range(len(value))), value, strict=True)
    else:
        return {}
    return {k: v for part, inner in items for k, v in _flatten(inner, f"{name}.{part}" if name else f"{part}").items()}


def _like(mask: Tensor, x: Tensor) -> Tensor:
    return mask.reshape(*mask.shape, *[1] * (x.dim() - 2))  # (B, T) -> (B, T, 1, ...)


def _add(total: Tensor | None, term: Tensor) -> Tensor:
    return term if total is None else total + term
