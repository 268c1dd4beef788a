"""Benchmarks that compare: padding_table, attention_race, classification_speed, local_linear; nothing is timed here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from harken.testing import PaddingReport, PaddingRow, check_padding

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def table():
    from benchmarks import padding_table

    return padding_table


@pytest.fixture
def cases():
    from benchmarks.peers import padding_cases

    return padding_cases


@pytest.fixture
def race():
    from benchmarks import attention_race

    return attention_race


@pytest.fixture
def speed():
    from benchmarks import classification_speed

    return classification_speed


@pytest.fixture
def rows_of_text():
    from benchmarks.peers import text_rows

    return text_rows


def measured(value, **settings):
    from benchmarks.harness import Run

    return Run("it", settings, 0, value, 2.0, 1, "abc", "a machine", 0.0)


@pytest.mark.parametrize("name", ["padding_table", "attention_race", "classification_speed"])
def test_the_usual_options(name, monkeypatch, capsys):
    from benchmarks import harness

    module = __import__(f"benchmarks.{name}", fromlist=["benchmark"])
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit):
        harness.main(name, module.VERSION, module.benchmark)
    assert "--quick" in capsys.readouterr().out


# padding_table

RIGHT = {"nn.LSTM packed, empty rows by hand", "BatchNorm in front, eval mode"}


def test_every_recipe_but_the_right_ones_is_found_wrong(cases):
    from benchmarks.peers import padding_recipes

    torch.manual_seed(0)
    found = {checked.name: cases.digest(cases.check(checked)) for checked in padding_recipes.models()}
    assert {name for name, worst in found.items() if not any(worst.values())} == RIGHT
    only_empty = {
        name for name, worst in found.items() if {c for c in worst if worst[c]} == {"empty rows", "only empty rows"}
    }
    assert only_empty == {
        "attention pooling, masked with -inf", "nn.MultiheadAttention, key_padding_mask", "nn.LSTM packed"
    }  # fmt: skip


def test_the_recipe_of_rows_that_look_at_rows_has_no_other_fault():
    from benchmarks.peers import padding_recipes

    torch.manual_seed(0)
    recipe = padding_recipes.BatchSecond().double()
    x, lengths = torch.randn(3, 6, padding_recipes.SIZE, dtype=torch.float64), torch.tensor([4, 2, 0])
    assert torch.allclose(recipe(x, lengths)[:2], recipe(x[:2, :4], lengths[:2]), atol=1e-10)  # no padding is looked at
    assert not torch.allclose(recipe(x, lengths)[:1], recipe(x[:1], lengths[:1]))  # but the other row is


def test_every_pooling_of_ours_is_in_the_table_and_passes(table, cases):
    assert {"last", "attention", "self-attention"} <= set(table.POOLINGS)
    for pooling in table.POOLINGS:
        assert not any(cases.digest(cases.check(cases.Checked(pooling, table.PooledStack(pooling, "gru")))).values())


@pytest.mark.parametrize(
    ("rows", "what", "amount"),
    [
        ([("output", 0.0, "")], None, None),
        ([("output", 0.5, ""), ("d x", 7.0, "")], "off", 0.5),
        ([("output", 0.0, ""), ("d x", 7.0, "")], "gradient off", 7.0),
        ([("output", float("nan"), ""), ("d x", 7.0, "")], "NaN", None),
        ([("–", float("inf"), "raised ValueError: no"), ("output", 0.5, "")], "raises ValueError", None),
        ([("output", float("inf"), "padding is not exactly 0")], "padding is not exactly 0", None),
        ([("output", 1e30, "")], "not 0, which it is alone", None),
    ],
)
def test_the_worst_of_a_case(cases, rows, what, amount):
    report = PaddingReport(tuple(PaddingRow("batch", tensor, 0, error, 1e-10, note) for tensor, error, note in rows))
    (worst,) = cases.digest(report).values()
    assert (what, amount) == (None, None) if worst is None else worst == (what, amount)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"batch": None, "empty rows": None}, "passes"),
        ({"batch": ["off", 0.5], "empty rows": ["off", 2.0]}, "off by up to 2 in all cases"),
        ({"alone": ["raises ShapeError", None]}, "raises ShapeError in alone"),
        ({"batch": None, "more padding": None, "empty rows": ["NaN", None]}, "NaN in empty rows"),
        (
            {"batch": ["off", 0.5], "more padding": ["off", 0.25], "empty rows": ["NaN", None]},
            "off by up to 0.5 in all cases but empty rows; NaN in empty rows",
        ),
    ],
)
def test_a_verdict_in_words(table, found, words):
    assert table.verdict(found) == words


def test_ours_must_pass_and_others_are_reported(table):
    found = measured({"version": "1", "models": {"a": {"batch": None}, "b": {"batch": ["off", 0.5]}}})
    assert [(row["value"], row["holds"]) for row in table.rows("harken", found)] == [(0.0, True), (1.0, False)]
    assert [row["holds"] for row in table.rows("recipe", found)] == [None, None]
    lines = table.matrix({"harken": found, "Keras": found}).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "off 0.5" in lines[-1]


def test_every_library_has_pinned_requirements_and_a_script(table):
    for name, spelled in table.LIBRARIES.items():
        assert "==" in table.pinned(table.PEERS / f"{name}.txt", spelled)
        assert (table.PEERS / f"padding_{name}.py").exists()
        assert "torch==2.13.0" in (table.PEERS / f"{name}.txt").read_text().splitlines()


# attention_race


@pytest.fixture
def data(race):
    draw = torch.Generator().manual_seed(0)
    ids = [torch.randint(2, 20, (length,), generator=draw) for length in (5, 3, 2, 7, 4, 1, 6, 2)]
    rows = race.Rows(ids, torch.arange(8) % 3)
    return race.Data(rows, rows, 20, 3)


def test_each_way_is_right_or_wrong_as_it_says(race):
    ids = torch.randint(2, 20, (4, 6), generator=torch.Generator().manual_seed(0))
    for name, way in race.WAYS.items():
        model = race.Model(way, 20, 3, seed=0).double().eval()
        answers, lengths = model(ids, torch.tensor([6, 2, 1, 4])), torch.tensor([6, 2, 1, 4])
        alone = torch.cat([model(ids[b : b + 1, :n], torch.tensor([n])) for b, n in enumerate(lengths.tolist())])
        assert torch.allclose(answers, alone, atol=1e-10) is (way.mask and not way.batch_axis), name


def test_all_ways_begin_alike(race):
    models = [race.Model(way, 20, 3, seed=4) for way in race.WAYS.values()]
    for model in models[1:]:
        assert torch.equal(model.embedding.weight, models[0].embedding.weight)
        assert torch.equal(model.recurrent.weight_hh_l0, models[0].recurrent.weight_hh_l0)
        assert torch.equal(model.output.weight, models[0].output.weight)


def test_learning_gives_a_curve(race, data, monkeypatch):
    monkeypatch.setattr(race, "EVERY", 2)
    points = race.learn(race.WAYS["all four faults, as in the exercise"], data, 6, 0)
    assert points["step"] == [2, 4, 6]
    assert len(points["loss"]) == len(points["right"]) == 3
    assert points == race.learn(race.WAYS["all four faults, as in the exercise"], data, 6, 0)


def test_curves_become_rows_a_table_and_a_picture(race, tmp_path):
    value = {"step": [40, 80, 120, 160, 200], "loss": [1.5, 0.9, 0.7, 0.6, 0.5], "right": [0.2, 0.8, 0.7, 0.9, 0.8]}
    later = value | {"right": [0.2, 0.7, 0.8, 0.8, 0.9]}
    never = value | {"loss": [1.6, 1.5, 1.4, 1.4, 1.4], "right": [0.2, 0.3, 0.2, 0.4, 0.3]}
    curves = {race.RIGHT: [measured(value), measured(later)], "fault: bad": [measured(value), measured(never)]}
    rows = [row for name, runs in curves.items() for row in race.rows(name, runs, 200)]
    assert [row["value"] for row in rows[:3]] == [120.0, 100.0, pytest.approx(0.8)]  # the mean of the end, not its best
    assert [row["value"] for row in rows[3:5]] == [None, None]
    assert f"| {race.RIGHT} | step 120 | step 100 | 80.0% |" in race.summary(curves)
    assert "| fault: bad | not reached | not reached | 55.0% |" in race.summary(curves)
    assert race.details(curves).splitlines() == [
        f"{race.RIGHT}: loss < 0.8 at step 120 (120, 120); 75% right at step 100 (80, 120); in the end 80.0 ± 0.0% "
        "right",
        "fault: bad: loss < 0.8 not reached (120, never); 75% right not reached (80, never); in the end 55.0 ± 35.4% "
        "right, -25.0 ± 35.4 points beside what is right",
    ]
    alone = {name: runs[:1] for name, runs in curves.items()}
    assert race.details(alone).endswith("in the end 80.0% right, +0.0 points beside what is right")
    race.draw(curves, SimpleNamespace(path=tmp_path / "attention_race.json"))
    assert (tmp_path / "attention_race_curves.png").stat().st_size > 1000


# classification_speed


def test_the_peers_get_the_sizes_of_the_recipe(speed):
    sizes = speed.recipe()
    assert sizes["attention"] == 2 * sizes["hidden"]
    assert sizes["batch"] > 0


def test_a_recipe_that_the_peers_cannot_follow_stops_it(speed, monkeypatch):
    from harken.config import RunConfig

    other = RunConfig.build({"task": "classify"}).override(num_layers=2)
    monkeypatch.setattr(speed, "RunConfig", SimpleNamespace(build=lambda nested: other))
    with pytest.raises(SystemExit, match=r"\{'num_layers': 2\}"):
        speed.recipe()


def test_speeds_become_ratios(speed):
    def side(*rates, parameters=1000, **settings):
        return [measured({"rate": r, "parameters": parameters, "losses": [0.7, 0.4]}, **settings) for r in rates]

    runs = {
        "harken": side(900.0, 1000.0, 800.0),
        "packed PyTorch": side(300.0, 500.0, 200.0),
        "Keras, JAX": side(250.0, 300.0, 400.0, multiple=8),
        "Keras, PyTorch": side(50.0, 60.0, 70.0, multiple=1),
    }
    speed.check(runs, 0.6)
    rows = {row["claim"]: row for row in speed.rows(runs)}
    assert rows["SST-2, training: times the faster Keras (Keras, JAX), median"]["value"] == pytest.approx(1000 / 300)
    assert rows["SST-2, training: times packed PyTorch, median"]["holds"] is True
    assert rows["SST-2, training: Keras, JAX (padded to a multiple of 8)"]["value"] == 300.0
    without = {name: mine for name, mine in runs.items() if "Keras" not in name}
    assert "cannot be installed" in [row["claim"] for row in speed.rows(without)][2]

    with pytest.raises(SystemExit, match="did not learn"):
        speed.check(runs, 0.3)
    with pytest.raises(SystemExit, match="2,000 parameters, harken 1,000"):
        speed.check(runs | {"Keras, JAX": side(1.0, parameters=2000)}, None)


@pytest.fixture
def options(rows_of_text, tmp_path):
    file = tmp_path / "rows.tsv"
    texts = ["a b c", "it's so-so ...", "A", "b " * 9, "c d", "e", "f g h i"]
    file.write_text("".join(f"{text}\t{k % 2}\n" for k, text in enumerate(texts)), encoding="utf-8")
    return rows_of_text.arguments(None).parse_args(
        [
            "--data",
            str(file),
            "--batch",
            "3",
            "--multiple",
            "4",
            "--hidden",
            "5",
            "--attention",
            "6",
            "--embedding",
            "7",
        ]
    )


def test_batches_of_the_peers(rows_of_text, options):
    rows = rows_of_text.read(options)
    assert [len(ids) for ids in rows.ids] == [3, 7, 1, 9, 2, 1, 4]
    assert rows.ids[0][0] == rows.ids[2][0], "capitals count as small letters"
    draw = np.random.default_rng(0)
    first, second = rows.batches(draw), rows.batches(draw)
    assert (
        sorted(batch.ids.shape for batch in first)
        == sorted(batch.ids.shape for batch in second)
        == [(1, 12), (3, 4), (3, 8)]
    )
    assert sorted(np.concatenate([batch.lengths for batch in first]).tolist()) == [1, 1, 2, 3, 4, 7, 9]
    for batch in first:
        assert ((batch.ids != rows_of_text.PAD).sum(1) == batch.lengths).all()


def test_the_packed_loop_is_right_and_learns(rows_of_text, options, capsys):
    from benchmarks.peers import packed_text

    torch.manual_seed(0)
    rows = rows_of_text.read(options)
    model = packed_text.Model(rows.vocabulary, 7, 5, 6, 0.5)
    batch = max(rows.batches(np.random.default_rng(0)), key=lambda batch: len(batch.ids))
    failures = check_padding(model, *map(torch.from_numpy, batch[:2])).failures
    assert {row.case for row in failures} <= {
        "garbage in padding",
        "other batch mates",
        "empty rows",
        "only empty rows",
    }

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    losses = [packed_text.step(model, optimizer, batch) for _ in range(20)]
    assert losses[-1] < losses[0]
    rows_of_text.report(options, rows, [9.0, 2.0, 1.0, 2.0], losses=losses)
    assert json.loads(capsys.readouterr().out)["rate"] == 3.5


def test_all_ways_of_a_local_layer_compute_and_learn_the_same():
    from benchmarks.local_linear_once import WAYS

    from harken import LocalLinear

    layer, x = LocalLinear(10, 3, 4, stride=2), torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    gradients = []
    for make in WAYS.values():
        model = make(layer)
        given = x.clone().requires_grad_()
        y = model(given).flatten(1)
        torch.testing.assert_close(y, layer(x).flatten(1))
        y.square().sum().backward()
        gradients.append(given.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(gradients[0], gradients[2])
    dense = WAYS["dense"](layer)
    dense(x).square().sum().backward()
    assert not dense.dense.weight.grad[dense.kept == 0].any(), "zeros stay zeros"
