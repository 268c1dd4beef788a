"""harken.cli.demo: the first thing that somebody types."""

import shlex
import shutil
from pathlib import Path

import pytest

from harken.cli.demo import EXAMPLE
from harken.config import RunConfig


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

    again = harken(*command)
    assert again.code == 2
    assert "--overwrite" in again.sentence

    other = harken(*command, "--overwrite", "--seed", "1", "--json")
    assert other.code == 0, other.err
    assert RunConfig.from_yaml(Path("runs/dates/config.yaml").read_text()).training.seed == 1

    shutil.copytree("runs/dates", "runs/demo-dates")  # its own folder is replaced each time
    default = harken("demo", "dates", "--quick", "--json")
    assert default.code == 0, default.err
    assert set(default.json["files"].values()) == {
        f"runs/demo-dates/{name}" for name in ("metrics.json", "curves.png", "map.png")
    }
    assert RunConfig.from_yaml(Path("runs/demo-dates/config.yaml").read_text()).training.seed == 0


@pytest.mark.parametrize("name", ["date", "addition"])
def test_other_demos_are_refused(harken, name):
    result = harken("demo", name)
    assert result.code == 2
    assert "dates" in result.sentence
