"""The benchmarks' harness: runs are kept and not repeated, claims are judged, the page is rendered from files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import harness

    return harness


@pytest.fixture
def store(harness, tmp_path):
    return harness.Store.open(tmp_path / "results" / "thing.json", version=1)


def test_a_finished_run_is_not_made_again(harness, store):
    calls = []

    def action():
        calls.append(1)
        return {"exact_match": 0.5}

    first = store.measure("score", {"epochs": 2}, 0, action)
    again = harness.Store.open(store.path, version=1)
    assert again.measure("score", {"epochs": 2}, 0, action) == first
    assert len(calls) == 1
    for name, settings, seed in (("score", {"epochs": 2}, 1), ("score", {"epochs": 3}, 0), ("race", {"epochs": 2}, 0)):
        again.measure(name, settings, seed, action)
    assert len(calls) == 4
    assert len(harness.Store.open(store.path, version=1).runs) == 4


def test_a_run_that_fails_leaves_nothing(harness, store):
    store.measure("score", {}, 0, lambda: {"value": 1})
    with pytest.raises(SystemExit):
        store.measure("score", {}, 1, lambda: sys.exit("died"))
    assert [run.seed for run in harness.Store.open(store.path, version=1).runs] == [0]


def test_a_run_says_where_and_when(store, harness):
    run = store.measure("score", {}, 3, lambda: {"value": 1})
    written = json.loads(store.path.read_text())["runs"][0]
    assert written["seed"] == 3
    assert written["commit"] == harness.commit() != ""
    assert "cores" in written["machine"]
    assert written["seconds"] == run.seconds >= 0
    assert written["busy"] >= 0


def test_runs_of_an_older_benchmark_are_stale(harness, store):
    store.measure("score", {}, 0, lambda: {"value": 1})
    newer = harness.Store.open(store.path, version=2)
    assert newer.find("score", {}, 0) is None
    newer.measure("score", {}, 0, lambda: {"value": 2})
    runs = harness.Store.open(store.path, version=2).runs
    assert [(run.stale, run.value["value"]) for run in runs] == [(True, 1), (False, 2)]
    assert all(run.stale for run in harness.Store.open(store.path, version=3).runs)
    assert harness.Store.open(store.path, version=1).find("score", {}, 0) is None, "stale once is stale for good"


@pytest.mark.parametrize(
    ("values", "goal", "at_most", "value", "holds"),
    [
        ([1.0, 0.9], 0.94, False, 0.95, True),
        ([1.0, 0.9], 0.96, False, 0.95, False),
        ([0.2], 0.3, True, 0.2, True),
        ([0.4], 0.3, True, 0.4, False),
        ([0.4], None, False, 0.4, None),
        ([10.0, None], 5.0, True, None, False),  # one seed that never got there fails the claim
        ([None], None, False, None, None),
    ],
)
def test_a_claim(harness, values, goal, at_most, value, holds):
    row = harness.claim("something", values, goal, "s", at_most=at_most)
    assert list(row) == ["claim", "value", "goal", "holds", "unit", "seeds", "seconds", "spread"]
    assert row["value"] == (None if value is None else pytest.approx(value))
    assert row["holds"] is holds
    assert row["seeds"] == len(values)


def test_seconds_of_a_claim_are_those_of_its_runs(harness, store):
    runs = [store.measure("score", {}, seed, lambda: {"value": 1}) for seed in range(3)]
    assert harness.claim("it", [1.0] * 3, 1.0, "s", runs=runs)["seconds"] == sum(run.seconds for run in runs)


def test_the_table_and_the_page(harness, store):
    from benchmarks.render import render

    store.measure("score", {}, 0, lambda: {"value": 1})
    store.rows = [
        harness.claim("dates: exact match", [0.9991], 0.999, "share"),
        harness.claim("dates: until 99.9%", [None], 30.0, "s", at_most=True),
    ]
    store.save()
    (store.path.parent / "thing_curves.png").write_bytes(b"")
    page = render(store.path.parent)
    assert "## thing" in page
    assert "| dates: exact match | 99.91%" in page
    assert "not reached" in page
    assert " NO " in page
    assert "results/thing_curves.png" in page
    lines = harness.table(store.rows).splitlines()
    assert len({len(line) for line in lines}) == 1, "columns line up"
    assert len(lines) == 2 + 2


def test_render_leaves_quick_and_stale_results_out(harness, store):
    from benchmarks.render import render

    store.measure("score", {}, 0, lambda: {"value": 1})
    harness.Store.open(store.path, version=2).save()
    quick = store.path.parent / "quick" / "other.json"
    quick.parent.mkdir()
    quick.write_text(store.path.read_text())
    page = render(store.path.parent)
    assert "1 older runs are stale" in page
    assert "other" not in page


def test_run_script_reads_the_report_and_gives_default_threads(harness, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    script = tmp_path / "script.py"
    script.write_text(
        "import json, os, sys\n"
        "report = {'threads': os.environ.get('OMP_NUM_THREADS'), 'seed': sys.argv[2]}\n"
        "open(sys.argv[sys.argv.index('--json') + 1], 'w').write(json.dumps(report))\n"
    )
    assert harness.run_script(script, "--seed", "7") == {"threads": None, "seed": "7"}
    script.write_text("import sys; sys.exit('no data')")
    with pytest.raises(SystemExit, match="no data"):
        harness.run_script(script)


def test_seconds_until_the_goal(harness):
    from benchmarks.dates import _ratio, _seconds_to

    report = {"epochs": [{"exact_match": m, "seconds": s} for m, s in ((0.5, 10.0), (0.9995, 21.0), (0.9999, 33.0))]}
    assert _seconds_to(0.999, report) == 21.0
    assert _seconds_to(1.0, report) is None
    assert _ratio(40.0, 20.0) == 2.0
    assert _ratio(None, 10.0) is None
    assert _ratio(40.0, None) is None
    row = harness.claim("faster", [2.0, 9.0, 3.0], 3.0, "×", median=True)
    assert (row["value"], row["holds"], row["seeds"]) == (3.0, True, 3)


@pytest.mark.parametrize("name", ["dates", "startup"])
def test_every_benchmark_takes_the_same_options(harness, name, monkeypatch, capsys):
    module = __import__(f"benchmarks.{name}", fromlist=["benchmark"])
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stop:
        harness.main(name, module.VERSION, module.benchmark)
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "--quick" in out
    assert "--json" in out


def test_main_keeps_the_rows_and_writes_them(harness, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)

    def benchmark(store, quick):
        run = store.measure("it", {"quick": quick}, 0, lambda: {"value": 0.5})
        return [harness.claim("it holds", [run.value["value"]], 0.4, "share", runs=[run])]

    monkeypatch.setattr(sys, "argv", ["it", "--json", str(tmp_path / "rows.json")])
    harness.main("it", 1, benchmark)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert rows == json.loads((tmp_path / "it.json").read_text())["rows"]
    assert rows[0]["holds"] is True
    assert "it holds" in capsys.readouterr().out

    monkeypatch.setattr(sys, "argv", ["it", "--quick"])
    harness.main("it", 1, benchmark)
    harness.main("it", 1, benchmark)
    assert len(json.loads((tmp_path / "quick" / "it.json").read_text())["runs"]) == 1, "quick starts from none"
    assert len(json.loads((tmp_path / "it.json").read_text())["runs"]) == 1, "and leaves the full results alone"
