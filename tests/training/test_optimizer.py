"""Tables of token vectors, row by row: the numbers of dense Adam without a first moment, at the price of a batch."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harken import Classifier
from harken.errors import ConfigError
from harken.training import module
from harken.training.optimizer import TableAdamW, clip_gradients, tables

VOCABULARY, SIZE = 12, 3
ABSENT = 5  # an id that is looked up at the first and the last step alone


def gradients(steps: int) -> list[tuple[Tensor, Tensor]]:
    """Looked-up ids (N,), some of them twice, and a gradient for each, (N, E), of very different sizes."""
    chance = torch.Generator().manual_seed(0)
    found = []
    for step in range(steps):
        ids = torch.randint(0, VOCABULARY - 1, (7,), generator=chance)
        ids = ids.masked_fill(ids == ABSENT, VOCABULARY - 1) if 0 < step < steps - 1 else ids.fill_(ABSENT)
        scale = 10.0 ** torch.randint(-3, 2, (7, 1), generator=chance)
        found.append((ids, scale * torch.randn(7, SIZE, generator=chance, dtype=torch.float64)))
    return found


def start() -> nn.Parameter:
    chance = torch.Generator().manual_seed(1)
    return nn.Parameter(torch.randn(VOCABULARY, SIZE, generator=chance, dtype=torch.float64))


def dense(ids: Tensor, values: Tensor) -> Tensor:
    return torch.zeros(VOCABULARY, SIZE, dtype=values.dtype).index_add_(0, ids, values)


def sparse(ids: Tensor, values: Tensor) -> Tensor:
    return torch.sparse_coo_tensor(ids.unsqueeze(0), values, (VOCABULARY, SIZE), check_invariants=True)


def walk(optimizer: torch.optim.Optimizer, table: nn.Parameter, make: Any) -> Tensor:
    for step, (ids, values) in enumerate(gradients(40)):
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)  # a schedule
        table.grad = make(ids, values)
        optimizer.step()
    return table.detach()


@pytest.mark.parametrize("make", [sparse, dense])
def test_a_table_walks_as_with_dense_adam_without_a_first_moment(make: Any) -> None:
    table = start()
    expected = start()
    walk(torch.optim.Adam([expected], betas=(0.0, 0.99)), expected, dense)
    found = walk(TableAdamW([{"params": [table], "table": True}], betas=(0.9, 0.99)), table, make)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=1e-12)
    assert not torch.equal(found[ABSENT], start()[ABSENT])


def test_moments_that_do_not_shrink_would_be_found() -> None:
    """`torch.optim.SparseAdam` is the planted fault."""
    table, expected = start(), start()
    walk(torch.optim.Adam([expected], betas=(0.0, 0.99)), expected, dense)
    lazy = walk(torch.optim.SparseAdam([table], betas=(0.0, 0.99)), table, sparse)
    assert not torch.allclose(lazy, expected.detach(), rtol=1e-3)


@pytest.mark.parametrize("most", [0.01, 1e6])
def test_sparse_gradients_are_clipped_as_dense_ones_are(most: float) -> None:
    for ids, values in gradients(3):
        table, expected, other, same = start(), start(), nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
        table.grad, expected.grad = sparse(ids, values), dense(ids, values)
        other.grad, same.grad = torch.full((4,), 3.0), torch.full((4,), 3.0)
        idle = nn.Parameter(torch.ones(2))
        clip_gradients([table, other, idle], most)
        torch.nn.utils.clip_grad_norm_([expected, same], most)
        torch.testing.assert_close(table.grad.to_dense(), expected.grad)
        torch.testing.assert_close(other.grad, same.grad)


def test_a_gradient_that_is_not_finite_is_not_hidden_by_clipping() -> None:
    table, other = start(), nn.Parameter(torch.ones(4))
    table.grad = sparse(torch.tensor([1]), torch.full((1, SIZE), torch.nan, dtype=torch.float64))
    other.grad = torch.ones(4)
    clip_gradients([table, other], 1.0)
    assert other.grad.isnan().all()


def test_the_other_groups_are_adamws_and_the_closure_is_asked_once() -> None:
    table, weight, expected = start(), start(), start()
    groups = [{"params": [weight], "weight_decay": 0.5}, {"params": [table], "table": True}]
    optimizer, plain = TableAdamW(groups, lr=0.1), torch.optim.AdamW([expected], lr=0.1, weight_decay=0.5)
    asked = []
    for ids, values in gradients(5):

        def closure(ids: Tensor = ids, values: Tensor = values) -> float:
            assert torch.is_grad_enabled()
            asked.append(1)
            weight.grad, table.grad = dense(ids, values), sparse(ids, values)
            return 7.0

        assert optimizer.step(closure) == 7.0
        expected.grad = dense(ids, values)
        plain.step()
    assert len(asked) == 5
    torch.testing.assert_close(weight, expected)


def test_half_way_saved_and_loaded_is_never_interrupted() -> None:
    def made(table: nn.Parameter) -> TableAdamW:
        return TableAdamW([{"params": [table], "table": True}], lr=0.1)

    through, table = start(), start()
    steps = gradients(20)
    whole, half = made(through), made(table)
    for ids, values in steps:
        through.grad = sparse(ids, values)
        whole.step()
    for ids, values in steps[:10]:
        table.grad = sparse(ids, values)
        half.step()
    again = made(table)
    again.load_state_dict(copy.deepcopy(half.state_dict()))
    for ids, values in steps[10:]:
        table.grad = sparse(ids, values)
        again.step()
    assert torch.equal(table, through)


def test_half_a_type_neither_loses_the_count_nor_makes_nan() -> None:
    table = nn.Parameter(torch.ones(4, 2, dtype=torch.float16))
    optimizer = TableAdamW([{"params": [table], "table": True}], lr=0.1)
    for _ in range(3):
        table.grad = torch.zeros(4, 2, dtype=torch.float16)
        table.grad[0] = 1.0
        optimizer.step()
    assert torch.equal(table[1:].detach(), torch.ones(3, 2, dtype=torch.float16))
    again = TableAdamW([{"params": [table], "table": True}], lr=0.1)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert {name: value.dtype for name, value in again.state[table].items()} == dict.fromkeys(
        ("step", "exp_avg_sq", "current"), torch.float32
    )


def test_groups_are_no_tables_unless_they_say_so() -> None:
    optimizer, other = TableAdamW([{"params": [start()]}]), start()
    optimizer.add_param_group({"params": [other]})
    other.grad = torch.ones_like(other)
    optimizer.step()
    assert "exp_avg" in optimizer.state[other]


# In a whole run: 300 different words, most of them in few batches

CHANCE = random.Random(0)
TEXTS = [" ".join(f"w{CHANCE.randrange(300)}" for _ in range(row % 9)) for row in range(120)]
LABELS = [row % 2 for row in range(120)]
SMALL: dict[str, Any] = {
    "embedding_size": 6, "hidden_size": 8, "batch_size": 16, "epochs": 3, "accelerator": "cpu", "learning_rate": 0.05,
}  # fmt: skip
READ: dict[str, list[Any]] = {
    "text": TEXTS,
    "words": [text.split() for text in TEXTS],
    "ids": [[int(word[1:]) for word in text.split()] for text in TEXTS],
}


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each gradient of a table that comes to the optimiser is sparse."""
    found: list[bool] = []
    step = TableAdamW._step_table

    def watched(self: TableAdamW, table: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        found.append(grad.is_sparse)
        step(self, table, grad, group)

    monkeypatch.setattr(TableAdamW, "_step_table", watched)
    return found


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.01}, {"clip_norm": 0}])
def test_sparse_and_dense_gradients_train_the_same_model(
    monkeypatch: pytest.MonkeyPatch, kinds: list[bool], read: str, options: dict[str, Any]
) -> None:
    found = []
    for large, are in ((1, True), (1 << 40, False)):
        monkeypatch.setattr(module, "LARGE", large)
        model = Classifier(**SMALL | options, input=read, precision="64-true").fit(READ[read], LABELS, validation=0)
        found.append(model.predictor.bundle.weights)
        assert set(kinds) == {are}
        kinds.clear()
    for name, weight in found[0].items():
        assert weight.dtype == torch.float64
        torch.testing.assert_close(weight, found[1][name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-true"])
def test_a_run_with_sparse_gradients_goes_on_as_if_never_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: list[bool], precision: str
) -> None:
    monkeypatch.setattr(module, "LARGE", 1)
    options = SMALL | {"schedule": "constant", "precision": precision}
    whole = Classifier(**options).fit(TEXTS, LABELS, validation=0)
    Classifier(**options | {"epochs": 1}).fit(TEXTS, LABELS, validation=0, out=tmp_path)
    again = Classifier(**options).fit(TEXTS, LABELS, validation=0, out=tmp_path, resume=True)
    assert set(kinds) == {True}
    for name, weight in whole.predictor.bundle.weights.items():
        assert torch.equal(weight, again.predictor.bundle.weights[name]), name
    lines: list[str] = []
    Classifier(**options).fit(TEXTS, LABELS, validation=0, out=tmp_path, resume=True, show=lines.append)
    assert lines[-1] == "the run was through already: nothing was left to do"


def test_a_run_of_an_earlier_harken_is_not_continued(tmp_path: Path) -> None:
    Classifier(**SMALL | {"epochs": 1}).fit(TEXTS, LABELS, validation=0, out=tmp_path)
    checkpoint = torch.load(tmp_path / "resume.ckpt", weights_only=True)
    checkpoint["optimizer_states"][0]["param_groups"].pop()
    torch.save(checkpoint, tmp_path / "resume.ckpt")
    with pytest.raises(ConfigError, match="begun by an earlier harken, which learned token vectors in another way"):
        Classifier(**SMALL).fit(TEXTS, LABELS, validation=0, out=tmp_path, resume=True)


def test_tables_are_found_and_frozen_ones_are_not() -> None:
    model = Classifier(**SMALL | {"epochs": 1, "input": "words"}).fit(READ["words"], LABELS).model
    assert {id(table) for table in tables(model)} == {
        id(model.frontend.words.embedding), id(model.frontend.characters.embedding)
    }  # fmt: skip
    model.frontend.words.embedding.weight.requires_grad_(False)
    assert [id(table) for table in tables(model)] == [id(model.frontend.characters.embedding)]
