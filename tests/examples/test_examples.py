"""Every example runs, in its --quick spelling if it has one, as a person would run it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
LIMIT = 20.0  # processor seconds: some seconds are promised, and a machine may be slow or shared
SAYS = {  # beside how good they are
    "documents.py": ["first chunk alone", "mean of the chunks", "chunks with most attention lowers the probability"],
    "heads.py": ["(classes: ", "(binary: ", "(multi-label: ", "logits", "probabilities", "label ", "R²"],
    "texts.py": ["self-attention", "bytes", "words with most attention lowers the probability", "rank correlation"],
}
LONGEST = {"numpy_dates.py": 200}  # lines; the others are for people who have a minute


def run(script: Path, *arguments: str, folder: Path) -> str:
    threads = {"OMP_NUM_THREADS": "1"}  # two would only wait for each other on a machine that runs other tests
    environment = {**os.environ, **threads, "MPLBACKEND": "Agg", "TMPDIR": str(folder)}
    result = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_quick(script, tmp_path):
    before = time.perf_counter()
    processor = os.times()
    output = run(script, *(["--quick"] if '"--quick"' in script.read_text() else []), folder=tmp_path)
    after = os.times()
    busy = after.children_user + after.children_system - processor.children_user - processor.children_system
    reached = re.findall(r"(?:exact match|accuracy).*?([\d.]+)%", output)
    assert reached, "it says how good it is"
    assert float(reached[-1]) > 50, "and it learns, even in its few seconds"
    assert all(said in output for said in SAYS.get(script.name, ()))
    # Processor seconds: what the example itself costs, whatever else the machine does meanwhile.
    assert busy < LIMIT, f"{script.name} took {busy:.1f} processor seconds, {time.perf_counter() - before:.1f} in all"


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_is_short(script):
    assert len(script.read_text().splitlines()) < LONGEST.get(script.name, 80)


def test_texts_takes_tables(tmp_path):
    for name, rows in (("train.csv", 60), ("test.csv", 12)):
        lines = (f"{row % 2},a day of {'rain' if row % 2 else 'sun'}" for row in range(rows))
        (tmp_path / name).write_text("\n".join(["stars,said", *lines]) + "\n")
    output = run(
        EXAMPLES / "texts.py", "--train", "train.csv", "--test", "test.csv", "--text", "said", "--label", "stars",
        folder=tmp_path,
    )  # fmt: skip
    assert output.count("on 12 texts") == 3


def test_dates_holds_out_what_it_does_not_learn(monkeypatch, tmp_path):
    """Though rows repeat, with more or less padding around them."""

    class Stop(Exception):
        pass

    class Recorder:
        learned: list[str]

        def __init__(self, **options):
            pass

        def fit(self, sources, targets, **options):
            self.learned = list(zip(sources, targets, strict=True))

        def score(self, sources, targets):
            raise Stop(self.learned, list(zip(sources, targets, strict=True)))

    table = tmp_path / "dates.txt"
    rows = [(f"{n % 300}{' ' * (n % 3)}", str(n % 300)) for n in range(1000)]
    table.write_text("".join(f"{source}_{target}\n" for source, target in rows))
    spec = importlib.util.spec_from_file_location("dates_example", EXAMPLES / "dates.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.setattr(example, "Seq2Seq", Recorder)
    with pytest.raises(Stop) as stop:
        example.main(["--quick", "--data", str(table), "--out", str(tmp_path / "run")])
    learned, unseen = stop.value.args
    assert 50 < len(unseen) < 200
    assert sorted(learned + unseen) == sorted(rows)
    assert not {source.strip() for source, _ in learned} & {source.strip() for source, _ in unseen}


def test_own_pairs_takes_a_table(tmp_path):
    table = tmp_path / "pairs.tsv"
    lines = [f"{number}\t{'odd' if number % 2 else 'even'}" for number in range(200)]
    table.write_text("\n".join(["number\tparity", *lines]) + "\n")
    output = run(
        EXAMPLES / "own_pairs.py", "--quick", "--data", str(table), "--source", "number", "--target", "parity",
        folder=tmp_path,
    )  # fmt: skip
    assert "exact match on all rows" in output


def test_a_wrong_column_is_one_sentence(tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(AssertionError, match="typed"):
        run(EXAMPLES / "own_pairs.py", "--data", str(table), folder=tmp_path)
