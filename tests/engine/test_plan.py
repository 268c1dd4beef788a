import numpy as np
import pytest
import torch

from harken.engine import plan as plan_module
from harken.engine.plan import INFERENCE_BYTES, KEPT_BYTES, KEPT_LIMIT, Span, cut, plan

LENGTHS = np.array([5, 0, 3, 1, 7, 7, 2])


def random_lengths(batch, low, high):
    return np.random.default_rng(0).integers(low, high, batch, endpoint=True)


@pytest.mark.parametrize("kept", [KEPT_BYTES, INFERENCE_BYTES])
@pytest.mark.parametrize("hidden", [1, 64, 256, 4096])
@pytest.mark.parametrize("lengths", [LENGTHS, random_lengths(128, 8, 29), random_lengths(64, 1, 800)])
def test_spans_tile_time_and_hold_the_rows_that_run(lengths, hidden, kept):
    spans = cut(lengths, hidden, kept)
    assert [span.start for span in spans[1:]] == [span.stop for span in spans[:-1]]
    assert (spans[0].start, spans[-1].stop) == (0, lengths.max())
    if len(spans) > 1:
        assert [span.width for span in spans] == [int((lengths > span.start).sum()) for span in spans]


def test_equal_rows_are_one_span():
    assert cut(np.full(128, 29), hidden=16, kept=KEPT_BYTES) == [Span(0, 29, 128)]


def test_cuts_only_where_it_pays():
    assert len(cut(np.array([9, 8, 9, 7]), hidden=32, kept=KEPT_BYTES)) == 1
    ragged = random_lengths(128, 1, 100)
    spans = cut(ragged, hidden=8, kept=KEPT_BYTES)
    computed = sum((span.stop - span.start) * span.width for span in spans)
    one = len(ragged) * int(ragged.max())
    assert len(spans) > 3
    assert computed + len(spans) * plan_module.SPAN_COST < 0.75 * one


@pytest.mark.parametrize(
    ("kept", "batch", "count"), [(KEPT_BYTES, 128, 2), (KEPT_BYTES, 512, 10), (INFERENCE_BYTES, 512, 3)]
)
def test_no_span_keeps_more_than_the_limit(kept, batch, count):
    spans = cut(np.full(batch, 29), 256, kept)
    assert len(spans) == count
    assert max(kept * span.width * (span.stop - span.start) * 256 for span in spans) <= KEPT_LIMIT


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [2, 3, 7])
def test_reads_and_writes_every_real_step_once(reverse, steps):
    spans = [Span(a, min(a + steps, 7), 7 if steps == 7 else int((a < LENGTHS).sum())) for a in range(0, 7, steps)]
    size = 9
    layout = plan(LENGTHS, spans, size, reverse, torch.device("cpu"))
    real = [row * size + t for row, length in enumerate(LENGTHS) for t in range(length)]
    read = layout.read.tolist()
    assert sorted(r for r in read if r != 7 * size) == real
    assert [r == 7 * size for r in read] == layout.padding.tolist()
    # Writing finds what was read, where it was read from.
    for position, found in enumerate(layout.write[: 7 * size].tolist()):
        assert (read[found] == position) if position in real else (found == len(read) + 7)
    # The last h is the row's last step in reading order; an empty row's is its h0.
    for row, (length, found) in enumerate(zip(LENGTHS, layout.write[7 * size :].tolist(), strict=True)):
        if length == 0:
            assert found == len(read) + row
        else:
            assert read[found] == row * size + (0 if reverse else length - 1)
    if layout.order is not None:
        assert layout.order[layout.place].tolist() == list(range(7))


def test_no_padding_column_without_padding():
    layout = plan(np.array([4, 4]), [Span(0, 4, 2)], 6, False, torch.device("cpu"))
    assert layout.padding is None
