"""harken.training.announcement: what is about to be trained, truly."""

import re

import pytest
import torch

from harken.config import InputKind, SequenceRun
from harken.data.labels import Head
from harken.data.ragged import Ragged
from harken.training.announcement import announced

COUNTS = {"rows": 1200, "validation_rows": 0, "steps": 38}


def lines(head: Head, target: torch.Tensor | Ragged, kind: InputKind = "text", **options: object) -> list[str]:
    task = {"values": "regress", "tags": "tag"}.get(head.kind, "classify")
    config = SequenceRun().override(task=task, **options).settled(kind)
    return list(announced(config, [head], {head.name: target}, **COUNTS))


@pytest.mark.parametrize(
    ("head", "target", "told"),
    [
        (Head("y", "binary", 1, ("no", "yes")), torch.tensor([0, 1, 1, -1]), "2 classes of 'y': no (1), yes (2)"),
        (
            Head("y", "classes", 8, tuple("abcdefgh")),
            torch.tensor([0, 1, 1, 2, 3, 4, 5, 6, 7, 7, 7]),
            "8 classes of 'y': from a (1) to h (3); 6 of them only once",
        ),
        (Head("y", "classes", 7, tuple(range(7))), torch.arange(7).repeat(2), "7 classes of 'y': 2 each"),
        (
            Head("y", "tags", 2, ("N", "V")),
            Ragged(torch.tensor([0, 0, -1, 1]), torch.tensor([0, 3, 4])),
            "2 tags of 'y': N (2), V (1)",
        ),
        (
            Head("y", "multi-label", 2, ("a", "b")),
            torch.tensor([[1.0, 1], [0, 1], [torch.nan, torch.nan]]),
            "2 labels of 'y': a (1), b (2); 1.5 on a row",
        ),
        (Head("y", "multi-label", 1, ("a",)), torch.tensor([[1.0], [0]]), "1 label of 'y': a (1); 0.5 on a row"),
        (
            Head("y", "values", 2, (), (2.0, 10.0), (2.0, 1.0)),
            torch.tensor([[-1.0, 0.5], [1, torch.nan]]),
            "values of 'y': from 0 to 4, mean 2; from 10.5 to 10.5, mean 10.5",
        ),
        (
            Head("y", "binary", 1, ("a\nb", "x" * 30)),
            torch.tensor([0, 1]),
            f"2 classes of 'y': a b (1), {'x' * 19}… (1)",
        ),
    ],
)
def test_what_is_answered(head: Head, target: torch.Tensor | Ragged, told: str) -> None:
    assert lines(head, target)[0] == told


def test_a_zero_stays_one_in_float32() -> None:
    values = torch.arange(40, dtype=torch.float64)[:, None] / 7
    mean, scale = float(values.mean()), float(values.std(correction=0))
    head = Head("y", "values", 1, (), (mean,), (scale,))
    assert lines(head, ((values - mean) / scale).float())[0].startswith("values of 'y': from 0 to 5.571")


def test_rows_and_recipe() -> None:
    head, target = Head("y", "binary", 1, ("no", "yes")), torch.tensor([0, 1])
    _, rows, recipe = lines(head, target, epochs=3, hidden_size=7, dropout=0.25, num_layers=2, mlp_size=9)
    assert rows == "rows: 1,200 to learn from, none to validate on, so the last epoch is kept"
    assert "→ 2 × biLSTM of 7 → attention → 9 hidden units, dropout 0.25; 3 epochs of 38 steps, 32 rows each" in recipe
    config = SequenceRun().settled("text")
    told = list(announced(config, [head], {"y": target}, rows=9, validation_rows=1, steps=1))
    assert told[1] == "rows: 9 to learn from, 1 to validate on"
    assert " of 1 step, " in told[2]


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("text", {"bidirectional": False, "cell": "gru"}, r"for each token → GRU of"),
        ("series", {"convolution": 5}, r"recipe: 5 convolution channels → biLSTM of"),
        ("vectors", {}, r"recipe: biLSTM of"),
        ("vectors", {"local": 3, "local_size": 4}, r"recipe: 3 local outputs for every 4 values → biLSTM of"),
        (
            "sentences",
            {},
            r"→ in each sentence biLSTM of .* → attention → over the sentences biLSTM of .* → attention,",
        ),
    ],
)
def test_the_layers_of_each_kind(kind: InputKind, options: dict[str, object], words: str) -> None:
    recipe = lines(Head("y", "binary", 1, (0, 1)), torch.tensor([0, 1]), kind, **options)[-1]
    assert re.search(words, recipe), recipe


def test_a_tagger_pools_nothing() -> None:
    head = Head("y", "tags", 2, ("N", "V"))
    recipe = lines(head, Ragged(torch.tensor([0, 1]), torch.tensor([0, 2])), "words")[-1]
    assert "for each token and its characters → biLSTM" in recipe
    assert "attention" not in recipe
