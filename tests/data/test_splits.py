import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from harken.config import DataConfig
from harken.data.sources import read_pairs
from harken.data.splits import split_by_hash
from harken.errors import DataError, UsageError


def sides(texts, fraction, labels=None):
    train, valid = split_by_hash(texts, fraction, labels)
    assert sorted([*train, *valid]) == list(range(len(texts)))
    assert train.dtype == valid.dtype == np.int64
    training, validation = {texts[i] for i in train}, {texts[i] for i in valid}
    assert not training & validation
    return training, validation


def test_real_dates_with_their_repeats(real_files):
    texts = read_pairs(real_files / "dates" / "date.txt.gz", DataConfig(delimiter="_")).sources
    assert len(set(texts)) < len(texts)
    _, validation = sides(texts, 0.1)
    assert abs(sum(text in validation for text in texts) - 5000) <= 2


@pytest.mark.parametrize("labels", [False, True])
def test_the_order_of_the_rows_does_not_matter(labels):
    texts = [f"text {i % 70}" for i in range(200)]
    names = [len(text) % 3 + i % 2 for i, text in enumerate(texts)] if labels else None
    order = np.random.default_rng(0).permutation(200)
    shuffled = [texts[i] for i in order]
    shuffled_names = None if names is None else [names[i] for i in order]
    assert sides(texts, 0.3, names) == sides(shuffled, 0.3, shuffled_names)


def test_another_process_deals_alike():
    script = (
        "from harken.data.splits import split_by_hash\n"
        "texts = [f'text {i}' for i in range(100)]\n"
        "print(split_by_hash(texts, 0.2)[1].tolist(), split_by_hash(texts, 0.2, [len(t) for t in texts])[1].tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_more_rows_hardly_move_the_old_ones():
    old = [f"text {i}" for i in range(1000)]
    _, before = sides(old, 0.2)
    _, after = sides(old + [f"new {i}" for i in range(200)], 0.2)
    assert len(before ^ (after & set(old))) < 40


def test_classes_keep_their_shares():
    labels = ["rare"] * 20 + ["common"] * 180 + ["single"]
    texts = [f"text {i}" for i in range(201)]
    _, valid = split_by_hash(texts, 0.1, labels)
    assert Counter(labels[i] for i in valid) == {"rare": 2, "common": 18}


def test_many_small_classes_still_meet_the_fraction():
    texts = [f"text {i}" for i in range(300)]
    _, valid = split_by_hash(texts, 0.1, [i // 3 for i in range(300)])
    assert len(valid) == 30


@pytest.mark.parametrize("often", ["a", "b", "c", "d", "e", "f"])
def test_one_input_that_fills_half_the_file(often):
    _, validation = sides([often] * 100 + [f"text {i}" for i in range(100)], 0.1)
    assert len(validation - {often}) == 20


def test_an_input_with_two_labels_stays_whole():
    texts = ["a", "a", "a", "b", "c", "d", "e"] * 10
    sides(texts, 0.4, [i % 2 for i in range(70)])


@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999])
@pytest.mark.parametrize("texts", [["a", "b"], ["a"] * 99 + ["b"], ["", "b", "b"]])
@pytest.mark.parametrize("labelled", [False, True])
def test_neither_side_is_ever_empty(texts, fraction, labelled):
    training, validation = sides(texts, fraction, list(texts) if labelled else None)
    assert training
    assert validation


@pytest.mark.parametrize("texts", [[], ["a"], ["a", "a"]])
def test_too_few_inputs(texts):
    with pytest.raises(DataError, match="distinct inputs cannot be split"):
        split_by_hash(texts, 0.5)


def test_wrong_arguments():
    with pytest.raises(UsageError, match="between 0 and 1"):
        split_by_hash(["a", "b"], 1.0)
    with pytest.raises(UsageError, match="1 labels for 2 texts"):
        split_by_hash(["a", "b"], 0.5, ["x"])
