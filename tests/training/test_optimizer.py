"""Tables of token vectors, row by row: the numbers of dense Adam without a first moment, at the price of a batch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harken import Classifier
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


def walk(optimizer: torch.optim.Optimizer, table: nn.Parameter, make: Any, most: float | None = None) -> Tensor:
    for step, (ids, values) in enumerate(gradients(40)):
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)  # a schedule
        table.grad = make(ids, values)
        if most is not None:
            clip_gradients([table], most)
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


# In a whole run

TEXTS = [" ".join(f"w{(row * 7 + place) % 60}" for place in range(row % 9)) for row in range(120)]
LABELS = [row % 2 for row in range(120)]
SMALL: dict[str, Any] = {"embedding_size": 6, "hidden_size": 8, "batch_size": 16, "epochs": 3, "accelerator": "cpu"}


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.01}, {"clip_norm": 0}, {"input": "words"}, {"input": "ids"}])
def test_sparse_and_dense_gradients_train_the_same_model(monkeypatch: pytest.MonkeyPatch, options: Any) -> None:
    rows = {"words": [text.split() for text in TEXTS], "ids": [[len(w) for w in text.split()] for text in TEXTS]}
    given = rows.get(options.get("input"), TEXTS)
    found = []
    for large in (1, 1 << 40):
        monkeypatch.setattr(module, "LARGE", large)
        found.append(Classifier(**SMALL | options).fit(given, LABELS, validation=0).model.state_dict())
    for name, weight in found[0].items():
        torch.testing.assert_close(weight, found[1][name], rtol=1e-4, atol=1e-5)


def test_tables_are_found_and_frozen_ones_are_not() -> None:
    model = Classifier(**SMALL | {"epochs": 1, "input": "words"}).fit([t.split() for t in TEXTS], LABELS).model
    assert {id(table) for table in tables(model)} == {
        id(model.frontend.words.embedding), id(model.frontend.characters.embedding)
    }  # fmt: skip
    model.frontend.words.embedding.weight.requires_grad_(False)
    assert [id(table) for table in tables(model)] == [id(model.frontend.characters.embedding)]
