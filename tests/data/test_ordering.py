import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harken.data.ordering import Grid, RowLoader, rows_per_batch
from harken.errors import DataError, UsageError

lengths_of_rows = st.lists(st.integers(0, 60), max_size=80)


class Rows(RowLoader[torch.Tensor]):
    """Batches that are nothing but their rows."""

    def _batch(self, rows):
        return rows


def loader(lengths, pieces=None, **options) -> Rows:
    lengths = torch.tensor(lengths, dtype=torch.int64)
    grid = None if pieces is None else Grid(torch.tensor(pieces, dtype=torch.int64), lengths)
    return Rows(lengths, grid, **{"batch_size": 4, "shuffle": True, "bucket": True, "seed": 3, **options})


def listed(batches) -> list[list[int]]:
    return [rows.tolist() for rows in batches]


@given(lengths_of_rows, st.booleans(), st.booleans(), st.integers(1, 9), st.one_of(st.none(), st.integers(1, 300)))
def test_a_pass_has_every_row_once_and_as_many_batches_as_it_says(lengths, shuffle, bucket, batch_size, batch_steps):
    batches = loader(lengths, shuffle=shuffle, bucket=bucket, batch_size=batch_size, batch_steps=batch_steps)
    for epoch in range(3):
        batches.set_epoch(epoch)
        found = listed(batches)
        assert sorted(itertools.chain(*found)) == list(range(len(lengths)))
        assert len(found) == len(batches)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=60), st.integers(1, 9), st.integers(1, 400))
def test_no_batch_holds_more_steps_than_allowed(rows, batch_size, batch_steps):
    pieces, longest = [p for p, _ in rows], [length for _, length in rows]
    for batch in listed(loader(longest, pieces, batch_size=batch_size, batch_steps=batch_steps)):
        cells = sum(pieces[row] for row in batch) * max(longest[row] for row in batch)
        assert cells <= batch_steps or len(batch) == 1
        assert len(batch) <= batch_size


@given(lengths_of_rows, st.booleans(), st.booleans())
def test_a_limit_that_binds_nowhere_changes_nothing(lengths, shuffle, bucket):
    limited = loader(lengths, shuffle=shuffle, bucket=bucket, batch_steps=4 * 60)
    assert listed(limited) == listed(loader(lengths, shuffle=shuffle, bucket=bucket))


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 400)), max_size=60),
    st.integers(1, 9),
    st.integers(1, 400),
    st.integers(1, 4),
)
def test_no_batch_holds_more_weights_of_self_attention_than_allowed(rows, batch_size, batch_steps, heads):
    grid = Grid(torch.tensor([p for p, _ in rows]).long(), torch.tensor([n for _, n in rows]).long())
    room = rows_per_batch(grid, batch_size, batch_steps, heads)
    for size in set(room.tolist()) - {1}:
        pieces, longest = (each[torch.from_numpy(room == size)].max().item() for each in grid)
        assert size * pieces * longest <= batch_steps
        assert heads * size * pieces * max(longest**2, pieces) <= 1024 * batch_steps


def test_self_attention_over_rows_that_are_short_enough_changes_nothing():
    """Where ``batch_steps`` leaves a row few steps, their squares are fewer than 1,024 a step anyway."""
    grid = Grid(torch.ones(300).long(), torch.arange(300))
    assert (rows_per_batch(grid, 32, 8192) == rows_per_batch(grid, 32, 8192, 3)).all()
    long = Grid(torch.ones(4).long(), torch.tensor([2047, 2048, 2049, 2896]))
    assert rows_per_batch(long, 32, 131_072, 1).tolist() == [32, 32, 16, 16]
    assert rows_per_batch(long, 32, 131_072, 4).tolist() == [8, 8, 4, 4]


def test_a_row_that_is_too_long_for_self_attention_alone():
    for pieces, longest, fits, said in (
        (1, 1 << 14, True, ""),
        (1, (1 << 14) + 1, False, r"row 1 \(16,385 steps\) would have 268,468,225 weights"),
        (1 << 8, 1 << 10, True, ""),
        (1 << 8, 1025, False, r"row 1 \(256 pieces, the longest of 1,025 steps\) would"),
        (1 << 14, 100, True, ""),
        ((1 << 14) + 1, 100, False, r"\(16,385 pieces"),
    ):
        grid = Grid(torch.tensor([1, pieces, 1]), torch.tensor([3, longest, 5]))
        options = {"batch_size": 2, "shuffle": False, "bucket": False, "seed": 0, "batch_steps": 10}
        if fits:
            assert len(Rows(grid.longest, grid, **options, attention_heads=1)) == 2
        else:
            with pytest.raises(DataError, match=said):
                Rows(grid.longest, grid, **options, attention_heads=1)
        assert len(Rows(grid.longest, grid, **options)) == 2


def test_long_rows_leave_the_others_in_full_batches():
    room = rows_per_batch(Grid(torch.ones(6).long(), torch.tensor([10, 100, 26, 25, 60, 7])), 8, 200)
    assert room.tolist() == [8, 2, 4, 8, 2, 8]
    one_sentence_and_many = Grid(torch.tensor([1, 100, 2, 2]), torch.tensor([100, 1, 3, 3]))
    assert rows_per_batch(one_sentence_and_many, 8, 200).tolist() == [2, 1, 8, 8]


def test_long_rows_are_mixed_anew_in_every_epoch():
    batches = loader([50] * 40 + [5] * 40, batch_steps=100)
    one = listed(batches)
    batches.set_epoch(1)
    other = listed(batches)
    assert len(one) == len(other) == 20 + 10
    assert {frozenset(rows) for rows in one}.isdisjoint(frozenset(rows) for rows in other)
    assert [len(rows) for rows in one] != sorted(map(len, one), reverse=True)  # and their batches among the others'


@pytest.mark.parametrize("steps", [1, 5, 12, 13])
def test_an_epoch_of_so_many_steps_passes_over_the_rows_again(steps):
    batches = loader(range(17), steps=steps)
    found = listed(batches)
    assert len(found) == len(batches) == max(steps, 5)
    passes = [found[start : start + 5] for start in range(0, len(found), 5)]
    for once in passes[:-1] if len(found) % 5 else passes:
        assert sorted(itertools.chain(*once)) == list(range(17))
    assert all(a != b[: len(a)] for a, b in itertools.combinations(reversed(passes), 2))
    assert passes[0] == listed(loader(range(17)))
    again = loader(range(17), steps=steps)
    assert listed(again) == found


@given(st.integers(0, 11), st.integers(0, 3))
def test_an_interrupted_epoch_of_several_passes_goes_on_where_it_stopped(done, epoch):
    options = {"steps": 12, "batch_steps": 30}
    whole, interrupted, resumed = (loader(range(17), **options) for _ in range(3))
    for batches in (whole, interrupted):
        batches.set_epoch(epoch)
    expected = listed(whole)
    assert len(expected) == 12
    list(itertools.islice(interrupted, done))
    resumed.load_state_dict(interrupted.state_dict())
    resumed.set_epoch(epoch)
    assert listed(resumed) == expected[done:]
    assert listed(resumed) == expected


@given(st.integers(1, 4), st.one_of(st.none(), st.integers(1, 20)))
def test_processes_share_the_batches(world, steps):
    whole = {tuple(rows) for rows in listed(loader(range(40), batch_steps=100))}
    shares = [listed(loader(range(40), batch_steps=100, steps=steps).shard(rank, world)) for rank in range(world)]
    each = len(whole) // world
    assert {len(share) for share in shares} == {max(each, steps or 0)}
    first = [tuple(rows) for share in shares for rows in share[:each]]
    assert len(set(first)) == len(first)
    assert set(first) <= whole


def test_too_few_batches_for_the_processes():
    with pytest.raises(DataError, match="too few for 3 devices"):
        loader(range(5), steps=10).shard(0, 3)


def test_padding_stays_small():
    lengths = np.random.default_rng(0).integers(1, 400, 3000)

    def padding(**options) -> float:
        cells = sum(len(rows) * lengths[rows].max() for rows in loader(lengths.tolist(), batch_size=32, **options))
        return 1 - lengths.sum() / cells

    assert padding() < 0.05
    assert padding(batch_steps=3200) < 0.05


@pytest.mark.parametrize("option", ["batch_size", "steps", "batch_steps"])
def test_numbers_below_one(option):
    with pytest.raises(UsageError, match=rf"{option} \(0\)"):
        loader([1], **{option: 0})


def test_no_rows():
    assert listed(loader([], steps=5, batch_steps=10)) == []
    assert len(loader([], steps=5)) == 0
