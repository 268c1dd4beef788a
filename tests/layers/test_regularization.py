"""Dropout in its forms, and SpecAugment: what is dropped, how often, and never outside training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from harken.errors import ShapeError, UsageError
from harken.layers.masks import mask_from_lengths
from harken.layers.regularization import (
    WeightDrop,
    drop_words,
    dropout,
    embedding_dropout,
    locked_dropout,
    rare_word_rates,
    spec_augment,
)

IDS = torch.full((40, 50), 7)
LENGTHS = torch.arange(40) % 51
MASK = mask_from_lengths(LENGTHS, 50)
WORDS = torch.arange(20).view(4, 5)
CALLS: dict[str, Any] = {
    "dropout": lambda p, training: dropout(torch.ones(4, 5, 6), p, training),
    "locked_dropout": lambda p, training: locked_dropout(torch.ones(4, 5, 6), p, training),
    "drop_words": lambda p, training: drop_words(IDS, MASK, p, training),
    "WeightDrop": lambda p, training: WeightDrop(p).train(training)(torch.ones(4, 5, 6)),
    "embedding_dropout": lambda p, training: embedding_dropout(torch.ones(4, 5, 6), WORDS, 20, p, training),
}
every_form = pytest.mark.parametrize("form", CALLS)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@every_form
def test_nothing_is_dropped_outside_training_or_with_p_0(form: str) -> None:
    whole = IDS if form == "drop_words" else torch.ones(4, 5, 6)
    before = torch.get_rng_state()
    for p, training in ((0.9, False), (0.0, True)):
        assert torch.equal(CALLS[form](p, training), whole)
    assert torch.equal(torch.get_rng_state(), before)  # and no random number is drawn


@every_form
@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_refused_probabilities(form: str, p: float) -> None:
    with pytest.raises(UsageError, match="must be a probability from 0 up to, not including, 1"):
        CALLS[form](p, True)


@every_form
def test_the_seed_decides(form: str) -> None:
    first, second = CALLS[form](0.5, True), CALLS[form](0.5, True)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(CALLS[form](0.5, True), first)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.95])
def test_dropout_keeps_the_mean(p: float, dtype: torch.dtype) -> None:
    x = torch.ones(100, 1001, dtype=dtype, requires_grad=True)  # no whole number of 64-bit draws
    y = dropout(x, p, True)
    y.sum().backward()
    assert y.dtype == dtype
    dropped = (y == 0).double()
    assert abs(float(dropped.mean()) - p) < 4 * (p * (1 - p) / x.numel()) ** 0.5
    kept = y[y != 0].detach()
    assert torch.allclose(kept.double(), torch.tensor(1 / (1 - p), dtype=torch.float64), rtol=1e-2)
    assert torch.equal(x.grad, y.detach())
    both = float((dropped[:, :-1] * dropped[:, 1:]).mean())  # neighbours share a 64-bit draw, and not their fate
    assert abs(both - p * p) < 0.01


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (2, 3, 5, 7)])
def test_dropout_takes_any_shape(shape: tuple[int, ...]) -> None:
    x = torch.ones(shape)
    assert dropout(x, 0.5, True).shape == shape
    assert dropout(x.T if x.dim() == 2 else x, 0.5, True).numel() == x.numel()


def test_locked_dropout_takes_a_channel_at_all_steps_of_a_row() -> None:
    y = locked_dropout(torch.ones(30, 7, 40), 0.3, True)
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert abs(float((y == 0).float().mean()) - 0.3) < 0.05
    assert torch.allclose(y[y != 0], torch.tensor(1 / 0.7))
    assert not torch.equal(y[0], y[1])


def test_drop_words_takes_real_words_only() -> None:
    ids = drop_words(IDS, MASK, 0.25, True)
    assert bool((ids[~MASK] == 7).all())
    assert abs(float((ids[MASK] == 1).float().mean()) - 0.25) < 0.05
    assert set(ids[MASK].tolist()) == {1, 7}
    assert set(drop_words(IDS, MASK, 0.25, True, unknown=3)[MASK].tolist()) == {3, 7}
    assert bool((IDS == 7).all())


@pytest.mark.parametrize("p", [1e-6, 1e-4, 0.3, 0.9999, 1 - 1e-6])
def test_dropout_near_the_ends_keeps_the_mean_that_its_levels_allow(p: float) -> None:
    """Draws have 16 bits: a probability is rounded to them, and what is kept is scaled by the rounded one."""
    x = torch.ones(1 << 16, dtype=torch.float64)
    dropped = min(round(p * 65536), 65535)
    values = torch.stack([dropout(x, p, True) for _ in range(8)])
    kept = values != 0
    assert torch.all(values[kept] == 65536 / (65536 - dropped))
    expected = 1 - dropped / 65536
    assert abs(float(kept.double().mean()) - expected) < 6 * (expected * (1 - expected) / kept.numel()) ** 0.5 + 1e-12


def test_dropout_is_the_same_on_the_data_s_device_whatever_the_default() -> None:
    x = torch.ones(3, 4, device="cpu")
    with torch.device("meta"):
        assert dropout(x, 0.5, True).device.type == "cpu"


def test_rare_words_are_dropped_as_often_as_their_counts_say() -> None:
    counts = torch.tensor([0, 0, 1, 9, 99_999])
    rates = rare_word_rates(counts, 1.0)
    assert rates.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.1, 1e-5])
    ids = torch.arange(5).repeat(100, 2_000)  # (100, 10000)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[:, -5:] = False
    dropped = drop_words(ids, mask, rates, True, unknown=7)
    assert torch.equal(dropped[:, -5:], ids[:, -5:])
    shares = [(dropped[:, i::5] == 7).float().mean().item() for i in (2, 3, 4)]
    assert shares == pytest.approx([0.5, 0.1, 0.0], abs=0.01)
    assert drop_words(ids, mask, rates, False) is ids


# --- weights ------------------------------------------------------------------------------------------------------


def cell_with(drop: nn.Module) -> nn.LSTMCell:
    cell = nn.LSTMCell(3, 5).double()
    parametrize.register_parametrization(cell, "weight_hh", drop)
    return cell


def steps(cell: nn.LSTMCell) -> Tensor:
    """Four steps of two rows."""
    x, state = torch.randn(4, 2, 3, dtype=torch.float64), None
    for step in x:
        state = cell(step, state)
    assert state is not None
    return state[0].square().sum() + state[1].square().sum()


def check_the_weight_learns(cell: nn.LSTMCell, p: float) -> None:
    """The parameter's gradient is that of the weight in use, where it was kept divided by 1 - p, and 0 elsewhere."""
    with parametrize.cached():
        used = cell.weight_hh
        used.retain_grad()
        steps(cell).backward()
    parameter, kept = cell.parametrizations.weight_hh.original, used != 0
    assert 0 < int(kept.sum()) < kept.numel()
    torch.testing.assert_close(used, parameter * kept / (1 - p))
    assert used.grad is not None
    assert used.grad.all()
    assert parameter.grad is not None
    torch.testing.assert_close(parameter.grad, used.grad * kept / (1 - p))
    assert not parameter.grad[~kept].any()


@pytest.mark.parametrize("p", [0.25, 0.5])
def test_a_dropped_weight_learns_where_it_is_kept(p: float) -> None:
    check_the_weight_learns(cell_with(WeightDrop(p)), p)


def test_a_weight_is_drawn_at_every_reading_and_once_while_it_is_cached() -> None:
    cell = cell_with(WeightDrop(0.5))
    assert not torch.equal(cell.weight_hh, cell.weight_hh)
    with parametrize.cached():
        assert torch.equal(cell.weight_hh, cell.weight_hh)


def test_the_weight_is_whole_outside_training() -> None:
    cell, plain = cell_with(WeightDrop(0.5)).eval(), nn.LSTMCell(3, 5).double()
    whole = {
        name.replace("parametrizations.weight_hh.original", "weight_hh"): v for name, v in cell.state_dict().items()
    }
    plain.load_state_dict(whole)
    assert torch.equal(cell.weight_hh, plain.weight_hh)
    x = torch.randn(2, 3, dtype=torch.float64)
    assert torch.equal(cell(x)[0], plain(x)[0])
    assert "WeightDrop(p=0.5)" in repr(cell)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_torch_s_own_layers_can_be_dropped_too(kind: type[nn.RNNBase]) -> None:
    layer, x = kind(3, 8, batch_first=True), torch.randn(2, 5, 3)
    parametrize.register_parametrization(layer, "weight_hh_l0", WeightDrop(0.25))
    outputs = layer(x)[0]
    assert not torch.equal(layer(x)[0], outputs)
    outputs.square().sum().backward()
    gradient = layer.parametrizations.weight_hh_l0.original.grad
    assert 0.1 < float((gradient == 0).float().mean()) < 0.4
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


class Unlearned(WeightDrop):
    """What many write-ups have: a weight that was set anew, so that no gradient finds the parameter."""

    def forward(self, weight: Tensor) -> Tensor:
        return super().forward(weight.detach()).requires_grad_()


class Unscaled(WeightDrop):
    def forward(self, weight: Tensor) -> Tensor:
        return weight * (super().forward(torch.ones_like(weight)) != 0)


@pytest.mark.parametrize("fault", [Unlearned, Unscaled])
def test_a_weight_that_is_dropped_wrongly_is_noticed(fault: type[WeightDrop]) -> None:
    with pytest.raises(AssertionError):
        check_the_weight_learns(cell_with(fault(0.5)), 0.5)


# --- words --------------------------------------------------------------------------------------------------------


def check_words(drop: Any) -> None:
    """A word is dropped at all its places or at none; the others, and their gradients, are divided by 1 - p."""
    ids = torch.randint(300, (20, 50))
    table = torch.randn(300, 6, dtype=torch.float64, requires_grad=True)
    x = table[ids]
    y = drop(x, ids, 300, 0.25, True)
    scale = (y / x).detach()  # (B, T, D)
    by_word = torch.zeros(300, dtype=torch.float64)
    by_word[ids.flatten()] = scale[..., 0].flatten()
    torch.testing.assert_close(scale, by_word[ids].unsqueeze(-1).expand_as(scale))
    assert set(by_word.mul(3).round().tolist()) == {0.0, 4.0}
    assert abs(float((by_word == 0).double().mean()) - 0.25) < 0.1
    y.sum().backward()
    counts = torch.bincount(ids.flatten(), minlength=300)
    torch.testing.assert_close(table.grad, (by_word * counts).unsqueeze(-1).expand_as(table))


def test_embedding_dropout_takes_a_word_at_all_its_places() -> None:
    check_words(embedding_dropout)


def test_words_that_are_dropped_place_by_place_are_noticed() -> None:
    def by_place(x: Tensor, ids: Tensor, vocabulary: int, p: float, training: bool) -> Tensor:
        return x * dropout(x.new_ones(ids.shape), p, training).unsqueeze(-1)

    for fault in (by_place, lambda x, ids, vocabulary, p, training: locked_dropout(x, p, training)):
        with pytest.raises(AssertionError):
            check_words(fault)


def test_embedding_dropout_takes_ids_of_any_shape_with_a_vector_each() -> None:
    for shape in ((), (0,), (7,), (2, 3, 4)):
        ids = torch.zeros(shape, dtype=torch.int64)
        assert embedding_dropout(torch.ones(*shape, 6), ids, 1, 0.5, True).shape == (*shape, 6)
    for training in (True, False):
        with pytest.raises(
            ShapeError, match=r"x \(4, 5, 6\) must be \(..., D\), a vector for each of the ids \(5, 4\)"
        ):
            embedding_dropout(torch.ones(4, 5, 6), WORDS.T, 20, 0.5, training)


# --- stretches and bands ------------------------------------------------------------------------------------------


FRAMES = torch.ones(400, 50, 16)
FRAME_LENGTHS = torch.arange(400) % 51
ONE_STRETCH: dict[str, Any] = {"time_masks": 1, "frequency_masks": 0}
ONE_BAND: dict[str, Any] = {"time_masks": 0, "frequency_masks": 1}


def ends(masked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, N) bool → first masked place (0 if none) and the number of them; masked places are neighbours."""
    width = masked.sum(1)
    start = masked.int().argmax(1)
    places = torch.arange(masked.shape[1])
    inside = (places >= start.unsqueeze(1)) & (places < (start + width).unsqueeze(1))
    assert torch.equal(inside, masked)
    return start, width


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.5, 1.0])
def test_a_time_mask_is_one_stretch_within_its_share_of_the_rows_own_length(share: float) -> None:
    masked = spec_augment(FRAMES, FRAME_LENGTHS, True, time_share=share, **ONE_STRETCH) == 0  # (B, T, F)
    assert torch.equal(masked, masked[..., :1].expand_as(masked))  # all features of a step, or none
    start, width = ends(masked[..., 0])
    assert bool((width <= share * FRAME_LENGTHS + 1e-4).all())
    assert bool((start + width <= FRAME_LENGTHS).all())
    if share:
        assert bool((width > 0).any())


def test_widths_and_places_are_drawn_evenly() -> None:
    rows = 20_000
    masked = spec_augment(torch.ones(rows, 20, 1), torch.full((rows,), 20), True, time_share=0.2, **ONE_STRETCH) == 0
    start, width = ends(masked[..., 0])
    spread = 4 / rows**0.5  # more than four standard deviations of any share below
    assert torch.bincount(width, minlength=5).div(rows).tolist() == pytest.approx([1 / 5] * 5, abs=spread)
    for size in range(1, 5):
        starts, places = start[width == size], 21 - size
        shares = torch.bincount(starts, minlength=places).div(len(starts)).tolist()
        assert shares == pytest.approx([1 / places] * places, abs=spread)


def test_a_frequency_mask_is_one_band_at_all_steps_and_each_row_has_its_own() -> None:
    masked = spec_augment(FRAMES, FRAME_LENGTHS, True, frequency_share=0.25, **ONE_BAND) == 0
    assert torch.equal(masked, masked[:, :1].expand_as(masked))
    start, width = ends(masked[:, 0])
    assert sorted(set(width.tolist())) == [0, 1, 2, 3, 4]
    assert set(start[width == 4].tolist()) == set(range(13))


def test_as_many_masks_as_asked_for_are_laid_over_one_another() -> None:
    masked = spec_augment(FRAMES, FRAME_LENGTHS, True, time_masks=3, frequency_masks=2) == 0
    steps, bands = masked.all(2), masked.all(1)
    assert torch.equal(masked, steps.unsqueeze(2) | bands.unsqueeze(1))
    stretches = (steps[:, 1:] & ~steps[:, :-1]).sum(1) + steps[:, 0]
    assert int(stretches.max()) == 3
    untouched = spec_augment(FRAMES, FRAME_LENGTHS, True, time_masks=0, frequency_masks=0)
    assert torch.equal(untouched, FRAMES)


def test_spec_augment_keeps_what_it_does_not_mask_and_its_gradient() -> None:
    x = torch.randn(30, 9, 8, dtype=torch.float64, requires_grad=True)
    y = spec_augment(x, torch.full((30,), 9), True)
    y.sum().backward()
    kept = y.detach() != 0
    assert y.dtype == torch.float64
    assert torch.equal(y[kept], x[kept])
    assert torch.equal(x.grad, kept.double())
    torch.manual_seed(1)
    first = spec_augment(FRAMES, FRAME_LENGTHS, True)
    assert not torch.equal(first, spec_augment(FRAMES, FRAME_LENGTHS, True))
    torch.manual_seed(1)
    assert torch.equal(first, spec_augment(FRAMES, FRAME_LENGTHS, True))


def test_spec_augment_is_off_outside_training() -> None:
    before = torch.get_rng_state()
    assert spec_augment(FRAMES, FRAME_LENGTHS, False) is FRAMES
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(0, 5, 4), (3, 0, 4), (3, 5, 0)])
def test_spec_augment_of_nothing(shape: tuple[int, int, int]) -> None:
    lengths = torch.full(shape[:1], shape[1])
    assert spec_augment(torch.ones(shape), lengths, True).shape == shape


@pytest.mark.parametrize("training", [True, False])
def test_what_spec_augment_refuses(training: bool) -> None:
    for name in ("time_share", "frequency_share"):
        for share in (-0.1, 1.1, float("nan")):
            with pytest.raises(UsageError, match=rf"{name} \(.*\) must be a share from 0 to 1"):
                spec_augment(FRAMES, FRAME_LENGTHS, training, **{name: share})
    for name in ("time_masks", "frequency_masks"):
        with pytest.raises(UsageError, match=rf"{name} \(-1\) must be at least 0"):
            spec_augment(FRAMES, FRAME_LENGTHS, training, **{name: -1})
    with pytest.raises(ShapeError, match=r"x \(400, 50, 16\) and lengths \(3,\) must be \(B, T, F\) and \(B,\)"):
        spec_augment(FRAMES, FRAME_LENGTHS[:3], training)
