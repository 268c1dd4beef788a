import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harken.data.windows import WindowBatch, WindowLoader
from harken.errors import DataError, UsageError

START = 999
sizes, few = st.integers(0, 80), st.integers(1, 9)


def loader(tokens: int, **options) -> WindowLoader:
    ids = torch.arange(1, tokens + 1, dtype=torch.int32)
    return WindowLoader(ids, START, **{"streams": 3, "window": 5, "vary": True, "seed": 7, **options})


def streams(batches) -> tuple[list[list[int]], list[list[int]]]:
    """What the rows of a pass read and are to predict, padding left out."""
    inputs: list[list[int]] = []
    targets: list[list[int]] = []
    for number, batch in enumerate(batches):
        assert batch.first == (number == 0)
        assert batch.ids.shape == batch.targets.shape == (len(batch.lengths), batch.targets.shape[1])
        assert batch.ids.dtype == batch.targets.dtype == batch.lengths.dtype == torch.int64
        for row, length in enumerate(batch.lengths.tolist()):
            if batch.first:
                inputs.append([])
                targets.append([])
            inputs[row] += batch.ids[row, :length].tolist()
            targets[row] += batch.targets[row, :length].tolist()
            assert not batch.ids[row, length:].any()
            assert not batch.targets[row, length:].any()
    return inputs, targets


def same(a: WindowBatch, b: WindowBatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True)) and a.first == b.first


def test_the_picture_of_the_module():
    batches = list(loader(21, window=3, vary=False))
    assert [batch.targets.tolist() for batch in batches] == [
        [[1, 2, 3], [8, 9, 10], [15, 16, 17]],
        [[4, 5, 6], [11, 12, 13], [18, 19, 20]],
        [[7], [14], [21]],
    ]
    assert batches[0].ids.tolist() == [[START, 1, 2], [7, 8, 9], [14, 15, 16]]
    assert batches[2].ids.tolist() == [[6], [13], [20]]
    assert [batch.first for batch in batches] == [True, False, False]


@given(sizes, few, few, st.booleans(), st.integers(0, 3))
def test_every_token_is_predicted_once_from_the_token_before_it(tokens, count, window, vary, epoch):
    batches = loader(tokens, streams=count, window=window, vary=vary)
    batches.set_epoch(epoch)
    inputs, targets = streams(batches)
    assert list(itertools.chain(*targets)) == list(range(1, tokens + 1))
    assert list(itertools.chain(*inputs)) == [START, *range(1, tokens)][:tokens]
    assert len(targets) == min(count, tokens)
    assert not targets or max(map(len, targets)) - min(map(len, targets)) <= 1
    assert len(list(batches)) == len(batches) == -(-max(map(len, targets), default=0) // window)


@given(sizes, few, few, st.booleans(), st.one_of(st.none(), st.integers(1, 30)), st.data())
def test_an_interrupted_epoch_goes_on_where_it_stopped(tokens, count, window, vary, steps, data):
    options = {"streams": count, "window": window, "vary": vary, "steps": steps}
    whole, interrupted, resumed = (loader(tokens, **options) for _ in range(3))
    for batches in (whole, interrupted):
        batches.set_epoch(2)
    expected = list(whole)
    assert len(expected) == len(whole)
    done = data.draw(st.integers(0, max(0, len(expected) - 1)))
    list(itertools.islice(interrupted, done))
    resumed.load_state_dict(interrupted.state_dict())
    resumed.set_epoch(2)
    left = list(resumed)
    assert len(left) == len(expected) - done
    assert all(map(same, left, expected[done:]))


@given(st.integers(4, 80), st.integers(4, 9), few, st.booleans(), st.integers(1, 4))
def test_processes_share_the_streams(tokens, count, window, vary, world):
    options = {"streams": count, "window": window, "vary": vary}
    whole = list(loader(tokens, **options))
    shares = [list(loader(tokens, **options).shard(rank, world)) for rank in range(world)]
    assert {len(share) for share in shares} == {len(whole)}
    for number, batch in enumerate(whole):
        for rank, share in enumerate(shares):
            mine = share[number]
            assert same(mine, WindowBatch(*(field[rank::world] for field in batch[:3]), batch.first))


def test_windows_vary_from_epoch_to_epoch_around_the_length_asked_for():
    batches = loader(200_000, streams=2, window=70)
    epochs = []
    for epoch in (0, 1, 0):
        batches.set_epoch(epoch)
        epochs.append([batch.targets.shape[1] for batch in batches])
    assert epochs[0] == epochs[2]
    assert epochs[0] != epochs[1]
    assert epochs[0] != [batch.targets.shape[1] for batch in loader(200_000, streams=2, window=70, seed=8)]
    lengths = np.array(epochs[0])
    assert len(lengths) == 1429
    assert abs(lengths.mean() - 70) < 0.1
    short = lengths < 52  # (35 + 70) / 2
    assert 0.03 < short.mean() < 0.07
    assert 4.5 < lengths[~short].std() < 6
    assert abs(lengths[~short].mean() - 70 / 0.975) < 1
    assert abs(lengths[short].mean() - 35 / 0.975) < 2


@pytest.mark.parametrize("vary", [True, False])
def test_an_epoch_of_so_many_steps_passes_over_the_text_again(vary):
    batches = list(loader(60, window=4, steps=12, vary=vary))
    assert [batch.first for batch in batches] == [number in (0, 5, 10) for number in range(12)]
    passes = [batches[:5], batches[5:10]]
    assert streams(passes[0])[1] == streams(passes[1])[1]
    assert all(map(same, *passes)) == (not vary)
    assert all(map(same, passes[0], loader(60, window=4, vary=vary)))


def test_short_texts():
    assert [batch.targets.tolist() for batch in loader(3, streams=1)] == [[[1, 2, 3]]]  # shorter than a window
    assert [batch.targets.tolist() for batch in loader(2)] == [[[1], [2]]]  # shorter than the streams are many
    assert list(loader(0, steps=9)) == []


def test_a_process_whose_streams_are_all_through():
    *_, last = loader(7, streams=2, window=3, vary=False).shard(0, 2)
    assert last.lengths.tolist() == [0]
    assert last.targets.tolist() == [[0]]


def test_a_batch_on_another_device():
    batch = next(iter(loader(9))).to("meta")
    assert {field.device.type for field in batch[:3]} == {"meta"}
    assert batch.first is True


def test_other_data_and_too_many_processes():
    with pytest.raises(DataError, match=r"had 1,000 tokens in 3 streams, and this one has 60 tokens in 3"):
        loader(60).load_state_dict(loader(1000).state_dict())
    with pytest.raises(
        DataError, match="60 tokens in 2 streams are too few for 3 devices: lower devices, raise batch_size"
    ):
        loader(60, streams=2).shard(0, 3)


@pytest.mark.parametrize("option", ["streams", "window", "steps"])
def test_numbers_below_one(option):
    with pytest.raises(UsageError, match=rf"{option} \(0\)"):
        loader(9, **{option: 0})
