"""Losses of batches with weights and missing answers, and that scores do not depend on how rows are batched."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from harken.data.batching import ModelInputs, SequenceBatch
from harken.data.labels import Head
from harken.models.heads import count, head_loss
from harken.training.labelled import HEADLINE, SHARES, SequenceObjective, answer_text

CLASSES = Head("color", "classes", 3, ("red", "green", "blue"))
BINARY = Head("sense", "binary", 1, ("neg", "pos"))
SEVERAL = Head("genre", "multi-label", 3, ("crime", "love", "war"))
VALUES = Head("size", "values", 2, (), (10.0, -5.0), (2.0, 0.5))
TAGS = Head("part", "tags", 4, ("N", "V", "A", "X"))
OTHER_TAGS = Head("mood", "tags", 2, ("up", "down"))
OF_ROWS = (CLASSES, BINARY, SEVERAL, VALUES)
T = 5


class Said(NamedTuple):
    logits: dict[str, Tensor]


class Rows:
    """Rows whose logits are known: a model that gives them, and the batches that ask for them."""

    def __init__(self, heads: tuple[Head, ...], n: int = 12, missing: bool = True) -> None:
        chance = torch.Generator().manual_seed(0)
        self.heads, self.n = heads, n
        self.logits, self.targets = {}, {}
        empty: float
        for head in heads:
            shape = (n, T) if head.kind == "tags" else (n,)
            self.logits[head.name] = torch.randn(*shape, head.width, generator=chance)
            if head.kind in ("values", "multi-label"):
                target, empty = torch.randint(0, 2, (n, head.width), generator=chance).float(), math.nan
            else:
                target, empty = torch.randint(0, len(head.classes), shape, generator=chance), -1
            if missing:
                target[torch.rand(shape, generator=chance) < 0.3] = empty
            self.targets[head.name] = target
        self.weights = torch.randint(0, 4, (n,), generator=chance).float()

    def batches(self, size: int, weighted: bool = True) -> Iterator[SequenceBatch]:
        for rows in torch.randperm(self.n, generator=torch.Generator().manual_seed(1)).split(size):
            inputs = ModelInputs(rows, torch.full_like(rows, T), None)
            targets = {name: target[rows] for name, target in self.targets.items()}
            yield SequenceBatch(inputs, targets, self.weights[rows] if weighted else None, rows)

    def __call__(self, inputs: ModelInputs) -> Said:
        return Said({name: logits[inputs.values] for name, logits in self.logits.items()})


@pytest.mark.parametrize("head", [*OF_ROWS, TAGS], ids=lambda head: head.kind)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_that_of_every_row_times_its_weight(head: Head, weighted: bool) -> None:
    rows = Rows((head,))
    weight = None if head is VALUES else torch.arange(1.0, len(head.classes) + 1)
    class_weight = {} if weight is None else {head.name: weight}
    objective = SequenceObjective([head], class_weight=class_weight, label_smoothing=0.1)
    (batch,) = rows.batches(rows.n, weighted)
    total, counted = objective.loss(rows, batch)  # type: ignore[arg-type]
    order = batch.rows
    logits, target = rows.logits[head.name][order], rows.targets[head.name][order]
    each = head_loss(head, logits, target, class_weight=weight, label_smoothing=0.1)
    expected = sum(loss * (w if weighted else 1) for loss, w in zip(each, rows.weights[order], strict=True))
    assert total.item() == pytest.approx(float(expected), rel=1e-5)
    assert counted == count(head, target).sum()
    parts = [objective.loss(rows, part) for part in rows.batches(1, weighted)]  # type: ignore[arg-type]
    assert total.item() == pytest.approx(sum(float(part.total) for part in parts), rel=1e-5)
    assert counted == sum(part.counted for part in parts)


@pytest.mark.parametrize("heads", [OF_ROWS, (TAGS, OTHER_TAGS)], ids=["rows", "steps"])
def test_of_several_heads_the_loss_is_the_mean_of_theirs(heads: tuple[Head, ...]) -> None:
    rows = Rows(heads)
    for weighted in (False, True):
        for batch in rows.batches(5, weighted):
            together = SequenceObjective(heads).loss(rows, batch)  # type: ignore[arg-type]
            means = []
            for head in heads:
                total, counted = SequenceObjective([head]).loss(rows, batch)  # type: ignore[arg-type]
                means.append(total / counted if counted else torch.tensor(0.0))
            assert torch.allclose(together.total / together.counted, torch.stack(means).mean())
            assert together.counted == len(batch.rows)


def test_a_head_that_a_batch_does_not_answer_gives_no_gradient() -> None:
    rows = Rows((CLASSES, VALUES))
    rows.targets["size"][:] = math.nan
    for logits in rows.logits.values():
        logits.requires_grad_()
    (batch,) = rows.batches(rows.n)
    total, counted = SequenceObjective(rows.heads).loss(rows, batch)  # type: ignore[arg-type]
    (total / counted).backward()
    assert rows.logits["color"].grad is not None
    assert rows.logits["size"].grad is not None
    assert rows.logits["color"].grad.abs().sum() > 0
    assert rows.logits["size"].grad.abs().sum() == 0


@pytest.mark.parametrize("heads", [*((head,) for head in (*OF_ROWS, TAGS)), OF_ROWS], ids=lambda heads: heads[-1].kind)
def test_scores_do_not_depend_on_how_rows_are_batched(heads: tuple[Head, ...]) -> None:
    rows, found = Rows(heads), []
    for size in (12, 5, 1):
        objective = SequenceObjective(heads, class_weight={"color": torch.ones(3)}, label_smoothing=0.3)
        for batch in rows.batches(size):
            objective.add(rows, batch)  # type: ignore[arg-type]
        found.append(objective.result())
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert found[0] == pytest.approx(found[2], rel=1e-5)
    means = []
    for head in heads:  # by the definition: no smoothing, no class weights, weighted by sample
        each, number = (
            head_loss(head, rows.logits[head.name], rows.targets[head.name]),
            count(head, rows.targets[head.name]),
        )
        means.append(float((each * rows.weights).sum() / (number * rows.weights).sum()))
    assert found[0]["loss"] == pytest.approx(sum(means) / len(means), rel=1e-5)
    assert {"loss", "score"} <= found[0].keys()


def test_reset_forgets() -> None:
    rows, objective = Rows((CLASSES,), missing=False), SequenceObjective([CLASSES], shown=["one", "two"])
    first = []
    for _ in range(2):
        objective.reset()
        for batch in rows.batches(4):
            objective.add(rows, batch)  # type: ignore[arg-type]
        first.append((objective.result(), objective.examples()))
    assert first[0] == first[1]
    objective.reset()
    assert objective.examples() == []
    rows.targets["color"][:] = -1
    for batch in rows.batches(4):
        objective.add(rows, batch)  # type: ignore[arg-type]
    assert objective.result() == pytest.approx({"loss": math.nan}, nan_ok=True)
    assert [line.split("→")[1][:3] for line in objective.examples()] == [" ? ", " ? "]


def test_names_say_what_is_shown() -> None:
    one, several = SequenceObjective([CLASSES]), SequenceObjective([CLASSES, VALUES])
    assert (one.headline, one.shares) == (("accuracy", "loss"), ("accuracy", "macro_f1", "calibration_error"))
    assert several.headline == ("color_accuracy", "size_r2", "loss")
    assert several.shares == ("color_accuracy", "color_macro_f1", "color_calibration_error")
    assert (one.unit, SequenceObjective([VALUES]).unit) == ("nats per answer", "squared error, standardised")
    for head in (*OF_ROWS, TAGS):
        rows, objective = Rows((head,)), SequenceObjective([head])
        for batch in rows.batches(12):
            objective.add(rows, batch)  # type: ignore[arg-type]
        assert {*SHARES[head.kind], HEADLINE[head.kind]} <= objective.result().keys()


def test_examples_say_what_was_said_and_what_is_true() -> None:
    heads = (CLASSES, SEVERAL, VALUES)
    rows = Rows(heads, 3, missing=False)
    rows.logits = {
        "color": torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]]),
        "genre": torch.tensor([[1.0, -1, 1], [-1.0, -1, -1], [1, 1, 1]]),
        "size": torch.tensor([[0.0, 0], [1, 1], [2, 2]]),
    }
    rows.targets = {
        "color": torch.tensor([0, 0, -1]),
        "genre": torch.tensor([[1.0, 0, 1], [0, 1, 0], [math.nan] * 3]),
        "size": torch.tensor([[0.0, 2], [-1, 1], [math.nan, 1]]),
    }
    objective = SequenceObjective(heads, shown=["a", "two", "c"])
    for batch in rows.batches(2):
        objective.add(rows, batch)  # type: ignore[arg-type]
    assert objective.examples() == [
        "  a   → color: ✓ red   genre: ✓ crime, war   size: 10, -5   (is 10, -4)",
        "  two → color: ✗ green   (should be red)   genre: ✗ none   (should be love)   size: 12, -4.5   (is 8, -4.5)",
        "  c   → color: ? blue   genre: ? crime, love, war   size: ? 14, -4",
    ]


def test_tags_are_told_where_they_are_known() -> None:
    rows = Rows((TAGS,), 1, missing=False)
    rows.targets["part"] = torch.tensor([[0, 1, -1, 2, -1]])
    rows.logits["part"] = 9 * torch.eye(4)[torch.tensor([[0, 1, 3, 3, 0]])]
    objective = SequenceObjective([TAGS], shown=["the cat"])
    for batch in rows.batches(1):
        objective.add(rows, batch)  # type: ignore[arg-type]
    assert objective.examples() == ["  the cat → ✗ N V X   (should be N V A)"]
    assert objective.result()["accuracy"] == pytest.approx(2 / 3)
    assert answer_text(TAGS, torch.tensor([3, 0])) == "X N"
