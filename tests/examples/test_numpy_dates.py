import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "numpy_dates.py"
DATES = Path(os.environ.get("HARKEN_DATA", ROOT / "../shared/data")) / "dates" / "date.txt.gz"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


def run(*arguments):
    """The example's output, in a process that would fail if anything imported torch."""
    code = f"import sys, runpy; sys.modules['torch'] = None; runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_quick_learns_synthetic_dates_without_torch(tmp_path):
    report = tmp_path / "report.json"
    output = run("--quick", "--json", report)
    epochs = json.loads(report.read_text())["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    assert epochs[0]["seconds"] < epochs[1]["seconds"] < epochs[2]["seconds"]
    assert epochs[2]["exact_match"] > 0.9
    assert epochs[2]["exact_match_unseen"] > 0.9
    assert f"{epochs[2]['exact_match']:.2%}" in output
    assert output.count(" → ") == 10


@pytest.mark.skipif(not DATES.exists(), reason=f"no real dates at {DATES}: set HARKEN_DATA")
def test_quick_learns_the_real_file_and_stops_when_told(tmp_path):
    report = tmp_path / "report.json"
    run("--quick", "--data", DATES, "--until", 0.5, "--json", report)
    epochs = json.loads(report.read_text())["epochs"]
    assert epochs[-1]["exact_match"] >= 0.5
    assert all(epoch["exact_match"] < 0.5 for epoch in epochs[:-1])


@pytest.mark.skipif(not DATES.exists(), reason=f"no real dates at {DATES}: set HARKEN_DATA")
def test_the_split_of_the_real_file_is_the_published_one(example):
    sources, targets = example["read_pairs"](str(DATES), 0)
    np.random.seed(1984)  # noqa: NPY002
    theirs = np.random.permutation(len(sources))  # noqa: NPY002
    known, unknown = example["split"](len(sources))
    np.testing.assert_array_equal(np.concatenate([known, unknown]), theirs)
    trained_on = {sources[row] for row in known}
    assert len(unknown) == 5_000
    assert sum(sources[row] not in trained_on for row in unknown) == 3_595
    assert all(text == text.strip() for text in sources + targets)


def test_rows_are_turned_around_within_their_own_length(example):
    rows = example["encode"](["abc", "b"], ["xy", "yyx"], {"a": 3, "b": 4, "c": 5}, {"x": 3, "y": 4})
    np.testing.assert_array_equal(rows.source, [[5, 4, 3], [4, 0, 0]])
    np.testing.assert_array_equal(rows.source_lengths, [3, 1])
    np.testing.assert_array_equal(rows.target, [[1, 3, 4, 2, 2], [1, 4, 4, 3, 2]])
    np.testing.assert_array_equal(rows.target_lengths, [3, 4])
    short = rows.take(np.array([1]))
    np.testing.assert_array_equal(short.source, [[4]])


def test_answers_come_back_in_the_order_of_the_rows(example):
    """The rows are answered sorted by length; a stub that writes a row's length tells whether that is undone."""

    class Stub:
        def generate(self, source, lengths, **_):
            return np.repeat(lengths[:, None], 2, axis=1)

    rows = example["encode"](["aaa", "a", "aa"], ["x"] * 3, {"a": 3}, {"x": 3})
    np.testing.assert_array_equal(example["answers"](Stub(), rows), [[3, 3], [1, 1], [2, 2]])
