"""harken.cli.demo: the first thing that somebody types."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from harken.cli.demo import EXAMPLE
from harken.config import RunConfig

FLOOR = 80.0  # percent exact match of the quick demo, which reaches 93 and more


def test_quick_learns_tests_and_names_its_files(harken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = shlex.split(EXAMPLE)[1:]
    result = harken(*command)
    assert result.code == 0, result.err
    *_, metrics, curves, drawing = result.out.splitlines()
    for line, name in ((metrics, "metrics.json"), (curves, "curves.png"), (drawing, "map.png")):
        file = Path(line.partition(": ")[2])
        assert file.name == name
        assert file.stat().st_size > 0
    assert result.out.count("→") >= 10  # validation rows after an epoch
    assert "exact match" in result.out
    found = re.search(r"on [\d,]+ unseen dates:.*?exact match +([\d.]+)%", result.out, re.DOTALL)
    assert float(found[1]) > FLOOR

    again = harken(*command)
    assert again.code == 2
    assert "--overwrite" in again.sentence

    other = harken(*command, "--overwrite", "--seed", "1", "--json")
    assert other.code == 0, other.err
    assert 100 * other.json["exact_match"] > FLOOR
    assert RunConfig.from_yaml(Path("runs/dates/config.yaml").read_text()).training.seed == 1

    shutil.copytree("runs/dates", "runs/demo-dates")  # its own folder is replaced each time
    default = harken("demo", "dates", "--quick", "--json")
    assert default.code == 0, default.err
    assert set(default.json["files"].values()) == {
        f"runs/demo-dates/{name}" for name in ("metrics.json", "curves.png", "map.png")
    }
    assert RunConfig.from_yaml(Path("runs/demo-dates/config.yaml").read_text()).training.seed == 0


def test_a_folder_that_is_refused_is_left_as_it_was(harken, tmp_path):
    (tmp_path / "map.png").write_bytes(b"of the coast")
    (tmp_path / "diary.txt").write_text("mine")
    result = harken("demo", "dates", "--quick", "--out", tmp_path, "--overwrite")
    assert result.code == 2
    assert "'diary.txt'" in result.sentence
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "map.png": b"of the coast",
        "diary.txt": b"mine",
    }
    file = tmp_path / "map.png"
    assert harken("demo", "dates", "--quick", "--out", file, "--overwrite").code == 2
    assert file.read_bytes() == b"of the coast"


@pytest.mark.parametrize("name", ["date", "addition"])
def test_other_demos_are_refused(harken, name):
    result = harken("demo", name)
    assert result.code == 2
    assert "dates" in result.sentence
