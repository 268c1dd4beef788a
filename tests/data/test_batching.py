import itertools

import pytest
import torch

from harken.data import ragged
from harken.data.batching import Batch, PairLoader, SequenceLoader
from harken.data.encoded import Encoded
from harken.data.ragged import Ragged, offsets_from_lengths, pad_rows
from harken.errors import DataError, ShapeError, UsageError

BOS, EOS = 2, 3
GENERATOR = torch.Generator().manual_seed(0)
ROWS = 1000


def random_rows(longest: int) -> list[list[int]]:
    lengths = torch.randint(0, longest + 1, (ROWS,), generator=GENERATOR).tolist()
    return [torch.randint(4, 50, (length,), generator=GENERATOR).tolist() for length in lengths]


SOURCES, TARGETS = random_rows(30), random_rows(12)


def loader(targets=TARGETS, **options) -> PairLoader:
    defaults = {"batch_size": 7, "bos_id": BOS, "eos_id": EOS, "reverse_source": False}
    defaults |= {"shuffle": True, "bucket": True, "seed": 5}
    ragged_targets = None if targets is None else Ragged.from_lists(targets, torch.int64)
    return PairLoader(Ragged.from_lists(SOURCES, torch.int64), ragged_targets, **(defaults | options))


def rows(batches) -> list[list[int]]:
    return [batch.rows.tolist() for batch in batches]


def pad(row: list[int], like: torch.Tensor) -> list[int]:
    return row + [0] * (like.shape[1] - len(row))


def check(batches: PairLoader, reverse: bool) -> None:
    """Every row comes once and whole."""
    seen = []
    for batch in batches:
        for b, row in enumerate(batch.rows.tolist()):
            source = SOURCES[row][::-1] if reverse else SOURCES[row]
            assert batch.source[b].tolist() == pad(source, batch.source)
            assert batch.target_in[b].tolist() == pad([BOS, *TARGETS[row]], batch.target_in)
            assert batch.target_out[b].tolist() == pad([*TARGETS[row], EOS], batch.target_out)
            assert batch.source_lengths[b] == len(SOURCES[row])
            assert batch.target_lengths[b] == len(TARGETS[row]) + 1
            seen.append(row)
        assert batch.source.shape[1] == batch.source_lengths.max()
        assert batch.target_in.shape[1] == batch.target_lengths.max()
    assert sorted(seen) == list(range(ROWS))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("bucket", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_row_comes_once_and_whole(shuffle, bucket, reverse):
    batches = loader(shuffle=shuffle, bucket=bucket, reverse_source=reverse)
    check(batches, reverse)
    assert len(list(batches)) == len(batches) == 143


def flip_with_the_padding(values, starts, lengths, fill=0, reverse=False):
    padded = pad_rows(values, starts, lengths, fill)
    return padded.flip(1) if reverse else padded


def one_step_too_many(values, starts, lengths, fill=0, reverse=False):
    return pad_rows(values, starts, (lengths + 1).clamp(max=len(values) - starts), fill, reverse)


@pytest.mark.parametrize("fault", [flip_with_the_padding, one_step_too_many])
def test_the_check_notices_planted_faults(fault, monkeypatch):
    monkeypatch.setattr(ragged, "pad_rows", fault)
    with pytest.raises(AssertionError):
        check(loader(reverse_source=True), reverse=True)


def test_without_targets():
    for batch in loader(targets=None, bos_id=None, eos_id=None):
        assert batch.target_in is batch.target_out is batch.target_lengths is None
        assert batch.source_lengths.tolist() == [len(SOURCES[row]) for row in batch.rows.tolist()]


def test_buckets_leave_little_padding():
    def padding(**options) -> float:
        batches = list(loader(**options))
        cells = sum(batch.source.numel() for batch in batches)
        return 1 - sum(map(len, SOURCES)) / cells

    assert padding(bucket=False) > 0.35
    assert padding(bucket=True) < 0.05
    assert padding(bucket=True, shuffle=False) < 0.02


def test_orders():
    assert rows(loader(shuffle=False, bucket=False))[:2] == [[0, 1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12, 13]]
    by_length = sorted(range(ROWS), key=lambda row: len(SOURCES[row]))
    assert list(itertools.chain(*rows(loader(shuffle=False)))) == by_length
    first = [batch.source.shape[1] for batch in loader()]
    assert first != sorted(first)  # the batches of a pool are shuffled after sorting


@pytest.mark.parametrize("bucket", [False, True])
def test_the_order_follows_from_seed_and_epoch(bucket):
    one, other = loader(bucket=bucket), loader(bucket=bucket)
    assert rows(one) == rows(other) == rows(one)
    other.set_epoch(1)
    assert rows(one) != rows(other)
    assert rows(loader(bucket=bucket, seed=6)) != rows(one)
    assert rows(loader(bucket=bucket, seed=6)) != rows(other)  # epoch 1 of seed 5, epoch 0 of seed 6
    other.set_epoch(0)
    assert rows(one) == rows(other)


@pytest.mark.parametrize("done", [1, 64, 142])
def test_an_interrupted_epoch_goes_on_where_it_stopped(done):
    interrupted, whole = loader(), loader()
    for batches in (interrupted, whole):
        batches.set_epoch(3)
    list(itertools.islice(interrupted, done))
    resumed = loader()
    resumed.load_state_dict(interrupted.state_dict())
    resumed.set_epoch(3)
    left = list(resumed)
    assert rows(left) == rows(whole)[done:]
    assert rows(resumed) == rows(whole)  # the pass after that is whole again
    resumed.set_epoch(4)
    whole.set_epoch(4)
    assert rows(resumed) == rows(whole)


def test_an_interruption_while_going_on():
    whole, first, second, third = (loader() for _ in range(4))
    list(itertools.islice(first, 10))
    second.load_state_dict(first.state_dict())
    list(itertools.islice(second, 5))
    third.load_state_dict(second.state_dict())
    assert rows(third) == rows(whole)[15:]


def test_a_finished_epoch_leaves_nothing_to_go_on_with():
    finished, resumed, fresh = loader(), loader(), loader()
    iterator = iter(finished)
    for _ in range(len(finished)):  # as Lightning does, which never asks for the StopIteration
        next(iterator)
    resumed.load_state_dict(finished.state_dict())
    for batches in (resumed, fresh):
        batches.set_epoch(1)
    assert rows(resumed) == rows(fresh)


def test_a_pass_that_was_broken_off_does_not_shorten_the_next():
    batches = loader()
    next(iter(batches))
    assert len(list(batches)) == len(batches)


def test_the_epoch_is_read_at_the_first_batch():
    late, early = loader(), loader()
    iterator = iter(late)
    late.sampler.set_epoch(2)
    early.set_epoch(2)
    assert rows(iterator) == rows(early)


def test_a_place_in_other_data():
    state = loader(batch_size=8).state_dict()
    with pytest.raises(DataError, match="batches of 8"):
        loader().load_state_dict(state)


def test_wrong_arguments():
    with pytest.raises(ShapeError, match="1 targets for 1000 sources"):
        loader(targets=[[1]])
    with pytest.raises(UsageError, match="markers"):
        loader(eos_id=None)
    with pytest.raises(UsageError, match="batch_size"):
        loader(batch_size=0)


def test_no_rows():
    nothing = Ragged.from_lists([], torch.int64)
    options = {"batch_size": 4, "bos_id": BOS, "eos_id": EOS, "reverse_source": True, "shuffle": True, "bucket": True}
    empty = PairLoader(nothing, nothing, **options, seed=0)
    assert len(empty) == len(list(empty)) == 0


def test_a_batch_moves_as_a_whole():
    with_targets, without = next(iter(loader())), next(iter(loader(targets=None)))
    assert all(field.device.type == "meta" for field in with_targets.to("meta"))
    assert isinstance(without.to("meta"), Batch)
    assert without.to("meta").target_in is None


# Pairs in several passes, and of bounded size


def test_pairs_in_bounded_batches_and_several_passes():
    batches = loader(batch_steps=70, steps=500)
    found = list(batches)
    assert len(found) == len(batches) == 500
    for batch in found:
        longest = max(batch.source.shape[1], batch.target_in.shape[1])
        assert longest * len(batch.rows) <= 70
    one_pass = loader(batch_steps=70)
    check(one_pass, reverse=False)
    assert rows(found)[: len(one_pass)] == rows(one_pass)


# Sequences


def encoded(lengths: list[int]) -> Encoded:
    sources = [[1] * length for length in lengths]
    return Encoded("ids", Ragged.from_lists(sources, torch.int64))


def sequences(targets=None, weights=None, what=None, **options) -> SequenceLoader:
    defaults = {"batch_size": 7, "shuffle": True, "bucket": True, "seed": 5}
    what = encoded(list(map(len, SOURCES))) if what is None else what
    return SequenceLoader(what, targets or {}, weights, **(defaults | options))


def test_sequences_come_with_what_belongs_to_them():
    numbers = torch.arange(ROWS)
    tags = Ragged.from_lists([[row] * len(SOURCES[row]) for row in range(ROWS)], torch.int64)
    values = torch.stack([numbers, -numbers], 1).float()
    batches = sequences({"class": numbers, "tags": tags, "values": values}, numbers / 2, batch_steps=80, steps=300)
    seen = set()
    for batch in batches:
        for b, row in enumerate(batch.rows.tolist()):
            length = len(SOURCES[row])
            assert batch.inputs.lengths[b] == length
            assert batch.inputs.values[b].tolist() == [1] * length + [0] * (batch.inputs.values.shape[1] - length)
            assert batch.targets["class"][b] == row
            assert batch.targets["values"][b].tolist() == [row, -row]
            assert batch.targets["tags"][b].tolist() == [row] * length + [-1] * (batch.inputs.values.shape[1] - length)
            assert batch.sample_weight[b] == row / 2
            seen.add(row)
        assert batch.inputs.values.numel() <= 80
    assert seen == set(range(ROWS))


def test_sequences_are_ordered_as_pairs_are():
    assert rows(sequences()) == rows(loader())
    assert rows(sequences(shuffle=False)) == rows(loader(shuffle=False))


def test_documents_are_ordered_by_all_their_tokens_and_cut_by_their_longest_sentence():
    generator = torch.Generator().manual_seed(1)
    sentences = torch.randint(0, 8, (60,), generator=generator)
    tokens = torch.randint(0, 20, (int(sentences.sum()),), generator=generator)
    pieces = Ragged.from_lists([[2] * length for length in tokens.tolist()], torch.int64)
    index = Ragged(torch.arange(len(pieces)), offsets_from_lengths(sentences))
    documents = Encoded("sentences", None, index, pieces)
    found = list(sequences(what=documents, batch_steps=300))
    assert sorted(itertools.chain(*rows(found))) == list(range(60))
    assert max(len(batch.inputs.pieces.lengths) * batch.inputs.pieces.ids.shape[1] for batch in found) <= 300
    total = {row: int(pieces.lengths[index[row]].sum()) for row in range(60)}
    order = list(itertools.chain(*rows(sequences(what=documents, shuffle=False))))
    assert order == sorted(range(60), key=lambda row: total[row])


def test_sequences_without_answers():
    for batch in sequences(what=encoded([0, 2, 0]), batch_size=1):
        assert batch.targets == {}
        assert batch.sample_weight is None
        assert batch.inputs.values.shape == (1, batch.inputs.lengths[0])
    assert len(sequences(what=encoded([]), steps=3)) == 0


def test_a_batch_of_sequences_moves_as_a_whole():
    batch = next(iter(sequences({"x": torch.arange(ROWS)}, torch.ones(ROWS)))).to("meta")
    moved = [batch.inputs.values, batch.inputs.lengths, batch.targets["x"], batch.sample_weight, batch.rows]
    assert {tensor.device.type for tensor in moved} == {"meta"}
    assert next(iter(sequences())).to("meta").sample_weight is None


def test_answers_that_do_not_belong_to_the_rows():
    with pytest.raises(ShapeError, match="there are 3 targets of 'x' for 1000 rows"):
        sequences({"x": torch.arange(3)})
    with pytest.raises(ShapeError, match="there are 2 sample weights for 1000 rows"):
        sequences(weights=torch.ones(2))
    with pytest.raises(ShapeError, match="row 1 has 1 targets of 'tags' for 2 steps"):
        sequences({"tags": Ragged.from_lists([[1], [1]], torch.int64)}, what=encoded([1, 2]))
