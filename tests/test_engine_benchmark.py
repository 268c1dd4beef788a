"""The engine's benchmark: its arithmetic, its claims and its contenders; no clock is trusted here."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
SPEEDS = {
    "ceiling": 500.0, "ragged: harken": 375.0, "ragged: portable": 100.0, "ragged: packed": 50.0,
    "ragged: dense trick": 150.0, "equal: harken": 380.0, "equal: dense": 400.0,
}  # fmt: skip


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("HARKEN_ENGINE", "portable")  # contenders set it: monkeypatch puts it back
    import benchmarks

    return benchmarks


@pytest.fixture
def work(benchmarks):
    from benchmarks import work

    return work


@pytest.fixture
def engine(benchmarks):
    from benchmarks import engine

    return engine


def measured(value, **settings):
    from benchmarks.harness import Run

    return Run("race", settings, 0, value, 2.0, 1, "abc", "a machine", 0.0)


def race(**changed):
    gflops = SPEEDS | {name.replace("_", ": "): speed for name, speed in changed.items()}
    return measured({"gflops": gflops, "engine": "avx512", "bits": 512, "threads": 2})


def holds(rows):
    return {row["claim"].partition(": ")[2].partition(" (")[0]: row["holds"] for row in rows}


def test_a_shape_is_read_as_it_is_written(work):
    for text in ("128,29,16,256", "32,100,128,128 bi"):
        assert str(work.Shape.parse(text)) == text
    assert work.Shape.parse("32,100,128,64 bi") == work.Shape(32, 100, 128, 64, bidirectional=True)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_flop_are_those_of_the_products(work, cell, bidirectional):
    """Against PyTorch's own count of a forward pass, which is all matrix products: on meta tensors, nothing is run."""
    from torch.utils.flop_counter import FlopCounterMode

    shape, gates = work.Shape(3, 5, 7, 11, bidirectional), {"lstm": 4, "gru": 3}[cell]
    x, h = torch.empty(1, 7, device="meta"), torch.empty(1, 11, device="meta")
    w_ih, w_hh = torch.empty(7, gates * 11, device="meta"), torch.empty(11, gates * 11, device="meta")
    with FlopCounterMode(display=False) as counter:
        x @ w_ih + h @ w_hh
    a_step = counter.get_total_flops() * shape.directions
    assert work.training_flop(cell, shape, steps=9) == 3 * 9 * a_step
    assert work.training_flop("lstm", work.Shape(1, 1, 16, 256), 1) == 3 * 8 * 256 * (16 + 256)


def test_ragged_lengths(work):
    lengths = work.ragged_lengths(5000, 40, seed=1)
    assert (lengths.min(), lengths.max()) == (10, 40)
    assert abs(lengths.mean() - 25) < 0.5
    assert lengths.dtype == np.int64
    assert (lengths == work.ragged_lengths(5000, 40, seed=1)).all()
    assert (lengths != work.ragged_lengths(5000, 40, seed=2)).any()
    assert (work.ragged_lengths(9, 1, seed=0) == 1).all()


def test_spread_lengths(work):
    for kind in work.LENGTHS:
        lengths = work.spread_lengths(kind, 32, 100, seed=0)
        assert lengths.shape == (32,)
        assert lengths.dtype == np.int64
        assert lengths.min() >= 1
        assert abs(lengths.mean() - 100) < 30, kind
    assert work.spread_lengths("one long row", 32, 100, seed=0)[0] == 640
    with pytest.raises(ValueError, match="zigzag"):
        work.spread_lengths("zigzag", 32, 100, seed=0)


def test_a_straight_line(work):
    line = work.straight_line([1, 2, 4], [5.0, 7.0, 11.0])
    assert line == pytest.approx((3.0, 2.0, 1.0))
    bent = work.straight_line(range(9), [x**2 for x in range(9)])
    slope, intercept = np.polyfit(range(9), [x**2 for x in range(9)], 1)
    assert (bent.intercept, bent.slope) == pytest.approx((intercept, slope))
    assert bent.r_squared == pytest.approx(np.corrcoef(range(9), [x**2 for x in range(9)])[0, 1] ** 2)
    assert work.straight_line([1, 2], [3, 3]) == (3.0, 0.0, 1.0)


def test_claims_of_a_large_shape(engine, work):
    rows = engine.training_rows("lstm", work.Shape(32, 100, 128, 128), [race(), race(), race(ceiling=900.0)])
    assert holds(rows) == {
        "harken, avx512": None,
        "share of the ceiling": True,
        "times PackedSequence": True,
        "times the dense trick": True,
        "times the portable engine": None,
        "equal lengths, times dense": True,
    }
    values = {row["claim"].partition(": ")[2]: row["value"] for row in rows}
    assert values["share of the ceiling (floor 55%)"] == 0.75, "the median over seeds"
    assert values["times PackedSequence"] == 7.5
    assert values["equal lengths, times dense"] == 0.95


@pytest.mark.parametrize(
    ("cell", "sizes", "changed", "share", "packed", "dense"),
    [
        ("lstm", (128, 29, 16, 256), {"ragged_harken": 340.0}, False, True, True),
        ("lstm", (128, 29, 16, 256), {"ragged_packed": 90.0}, True, False, True),
        ("lstm", (16, 400, 64, 64), {"ragged_harken": 310.0, "ragged_packed": 90.0}, True, None, True),
        ("lstm", (20, 35, 650, 650), {"ragged_harken": 290.0, "ragged_dense trick": 250.0}, False, None, False),
        ("gru", (128, 29, 16, 256), {"ragged_harken": 310.0}, True, None, None),
    ],
)
def test_goals_depend_on_the_shape(engine, work, cell, sizes, changed, share, packed, dense):
    found = holds(engine.training_rows(cell, work.Shape(*sizes), [race(**changed)]))
    names = ("share of the ceiling", "times PackedSequence", "times the dense trick")
    assert tuple(found[name] for name in names) == (share, packed, dense)


def test_the_prototype_has_a_row_where_it_was_built(engine, work):
    rows = engine.training_rows("lstm", work.Shape(32, 100, 128, 128), [race(ragged_prototype=360.0)])
    assert "times the prototype" in holds(rows)


def test_streaming_claims(engine):
    ours = measured({"microseconds": {"harken": 2.5, "NumPy": 12.0}, "h": {"harken": [0.1], "NumPy": [0.1 + 1e-8]}})
    peer = measured({"microseconds": {"run": 11.0, "bound": 8.0}, "h": {"run": [0.1], "bound": [0.1]}})
    rows = engine.streaming_rows((64, 128), [ours], [peer])
    assert [(row["value"], row["holds"]) for row in rows] == [(2.5, True), (12.0, None), (8.0, None)]
    assert [row["holds"] for row in engine.streaming_rows((16, 64), [ours], [peer])] == [False, None, None]
    missing = engine.streaming_rows((64, 128), [ours], [])[-1]
    assert missing["value"] is None
    assert "cannot be installed" in missing["claim"]
    engine.check_states([ours, peer])
    peer.value["h"]["bound"] = [0.2]
    with pytest.raises(SystemExit, match="bound differ"):
        engine.check_states([ours, peer])


def test_cost_and_memory_are_lines(engine):
    from benchmarks.harness import table

    points = [{"kind": "equal", "steps": n, "seconds": {"harken": 1e-3 + 2e-6 * n}} for n in (100, 200, 400)]
    straight, within, slope = engine.growth_rows(measured({"points": points}))
    assert straight["holds"] is within["holds"] is True
    assert slope["value"] == pytest.approx(2.0)
    points[1]["seconds"]["harken"] *= 3
    assert engine.growth_rows(measured({"points": points}))[0]["holds"] is False
    kept = [measured({"steps": n, "bytes": 4096 + 3072 * n}) for n in (1000, 2000, 4000)]
    rows = engine.kept_rows({"harken": kept, "packed": kept})
    assert [row["value"] for row in rows] == pytest.approx([3072, 1, 3072])
    assert "| 3,072 bytes |" in table(rows)


def test_parts_of_an_epoch(benchmarks):
    from benchmarks.date_epoch import epoch_rows, parts

    seconds = {"engine": 4.0, "model": 4.5, "optimizer": 4.75, "batches": 5.0, "epoch": 5.5}
    assert parts(seconds) == {"engine": 4.0, "model": 0.5, "optimizer": 0.25, "batches": 0.25, "epoch": 0.5}
    rows = epoch_rows([measured({"seconds": seconds})], [measured({"seconds": seconds | {"epoch": 9.0}})])
    assert rows[0]["value"] == 9.0
    assert (rows[2]["value"], rows[2]["holds"]) == (1.375, False)
    assert sum(row["value"] for row in rows[3:]) == seconds["epoch"]


def test_turns_go_round_and_drop_the_first_step(benchmarks, monkeypatch):
    from benchmarks import turns

    clock, seen, costs = [0.0], [], {"a": iter([5.0, 1.0, 1.0] * 9), "slow": iter([40.0] * 9)}
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock[0])

    def contender(name):
        def step():
            seen.append(name)
            clock[0] += next(costs[name])

        return step

    found = turns.take_turns({name: contender(name) for name in costs}, rounds=3, turn=6.5)
    assert seen == ["a", "a", "a", "slow"] + ["a"] * 6, "the slow one has had its time"
    assert found == {"a": 1.0, "slow": 40.0}


def test_a_stream_is_timed_and_its_state_told(benchmarks):
    from benchmarks.turns import time_steps

    total = np.zeros(6)

    def step(x):
        total[:] += x
        return total

    report = time_steps({"sum": (step, [1.0, 2.0])}, rounds=1)
    assert report["h"] == {"sum": [3.0] * 4}, "after one time through the sequence"
    assert report["microseconds"]["sum"] > 0


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_contenders_agree(benchmarks, work, monkeypatch, tmp_path, cell, bidirectional):
    from benchmarks import contenders

    monkeypatch.setattr(contenders, "PROTOTYPE", tmp_path)
    shape = work.Shape(4, 9, 3, 5, bidirectional)
    ways = contenders.make_contenders(cell, shape, tmp_path)
    ragged = contenders.make_batch(shape, np.array([9, 2, 5, 1]), seed=0)
    equal = contenders.make_batch(shape, np.full(4, 9), seed=0)
    contenders.check({name: way for name, way in ways.items() if name != "dense"}, ragged)
    contenders.check(ways, equal)
    assert all(p.grad is not None for p in ways["dense trick"].parameters)

    wrong = ways["packed"]._replace(forward=lambda x, lengths: ways["packed"].forward(x, lengths) * 1.001)
    with pytest.raises(SystemExit, match="wrong"):
        contenders.check({"packed": ways["packed"], "wrong": wrong}, ragged)


def test_streaming_contenders_agree(benchmarks, work):
    from benchmarks import stream_once
    from benchmarks.turns import time_steps

    stream = work.make_stream(inputs=3, hidden=5, steps=7)
    tensors = [torch.from_numpy(x) for x in stream.xs]
    with torch.inference_mode():
        steps = {
            "harken": (stream_once.harken_step(stream), stream.xs),
            "cell": (stream_once.cell_step(stream), tensors),
            "layer": (stream_once.layer_step(stream), tensors),
            "numpy": (stream_once.numpy_step(stream), stream.xs),
        }
        states = time_steps(steps, rounds=1)["h"]
    for h in states.values():
        np.testing.assert_allclose(h, states["cell"], atol=1e-6)


@pytest.mark.parametrize("name", ["engine", "date_epoch"])
def test_the_command_line(benchmarks, name, monkeypatch, capsys):
    from benchmarks import harness

    module = __import__(f"benchmarks.{name}", fromlist=["benchmark"])
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stop:
        harness.main(name, module.VERSION, module.benchmark)
    assert stop.value.code == 0
    assert "--quick" in capsys.readouterr().out


def test_pictures(engine, work, tmp_path):
    from benchmarks.engine_pictures import draw_cost, draw_speed

    draw_speed({"LSTM": {work.Shape(1, 2, 3, 4): [race()]}}, tmp_path / "speed.png")
    points = [{"kind": k, "steps": n, "seconds": {"harken": n, "packed": n}} for k in work.LENGTHS for n in (1, 2)]
    draw_cost(points, tmp_path / "cost.png")
    assert {path.name for path in tmp_path.iterdir()} == {"speed.png", "cost.png"}
