"""harken.cli: what holds for every verb."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harken import cli
from harken._version import __version__

VERBS = ("train", "evaluate", "predict", "explain", "inspect", "doctor", "demo")


def test_importing_the_command_line_loads_nothing_heavy():
    heavy = {"torch", "lightning", "pyarrow", "matplotlib", "tokenizers", "numpy"}
    program = f"import sys, harken.cli, harken.config, harken.errors\nprint(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_nothing_heavy_either():
    program = (
        "import sys; from harken.cli import main\n"
        "code = main(['train', '--help']); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout  # piped: no colours
    assert "--hidden-size" in done.stdout


@pytest.mark.parametrize("verb", [(), *((verb,) for verb in VERBS)], ids=lambda verb: verb[0] if verb else "root")
def test_help_ends_with_an_example_of_that_verb(harken, verb):
    result = harken(*verb, "--help")
    assert (result.code, result.err) == (0, "")
    example = re.fullmatch(r"Example: (harken .*)", result.out.rstrip().splitlines()[-1].strip())
    assert example
    words = shlex.split(example[1])
    assert words[1] == (verb[0] if verb else "demo")


def test_examples_in_help_run(harken, tmp_path, monkeypatch):
    """One after the other, in a folder that holds what they name; the demo's is tested on its own."""
    monkeypatch.chdir(tmp_path)
    rows = [(str(n), str(n)[::-1]) for n in range(1000, 1060)]
    Path("pairs.txt").write_text("".join(f"{source}\t{target}\n" for source, target in rows))
    Path("test.csv").write_text("source,target\n" + "".join(f"{s},{t}\n" for s, t in rows))
    for verb in VERBS[:-1]:
        words = shlex.split(getattr(cli, verb).EXAMPLE)[1:]
        result = harken(*words, *(["--hidden-size", "8"] if verb == "train" else []))
        assert result.code == 0, (verb, result.err)
    assert Path("map.png").read_bytes()[1:4] == Path("model.png").read_bytes()[1:4] == b"PNG"


def test_no_arguments_shows_help(harken):
    result = harken()
    assert result.code == 0
    assert all(f"  {verb} " in result.out for verb in VERBS)


def test_version(harken):
    assert harken("--version").out == f"harken {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["trian"], "train"),
        (["train", "--hiden-size", "3"], "--hidden-size"),
        (["predict", "x", "--beamsize", "3"], "--beam-size"),
        (["evaluate", "x", "--dat", "y"], "--data"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(harken, arguments, near):
    result = harken(*arguments)
    assert result.code == 2
    assert near in result.sentence
    assert result.out == ""


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("train", "doctor")])
def test_missing_arguments_are_one_sentence(harken, verb):
    result = harken(verb)
    assert result.code == 2
    assert "Missing argument" in result.sentence


@pytest.mark.parametrize("verb", ["evaluate", "predict", "explain", "inspect"])
def test_a_folder_without_a_run(harken, verb, tmp_path):
    arguments = {"evaluate": ["--data", "x"], "predict": ["x"], "explain": ["x"], "inspect": []}[verb]
    result = harken(verb, tmp_path / "nothing", *arguments)
    assert result.code == 1
    assert "nothing" in result.sentence


def _break(monkeypatch):
    def load(path):
        raise KeyError("surprise")

    monkeypatch.setattr("harken.estimators.loading.load", load)


def test_a_surprise_is_one_sentence_that_names_it(harken, monkeypatch):
    _break(monkeypatch)
    result = harken("inspect", "anything")
    assert result.code == 1
    assert "KeyError: 'surprise'" in result.sentence
    assert "--debug" in result.sentence


def test_debug_shows_the_traceback(harken, monkeypatch):
    _break(monkeypatch)
    result = harken("inspect", "anything", "--debug")
    assert result.code == 1
    assert "Traceback" in result.err
    assert "in load" in result.err


def test_debug_after_the_dashes_is_a_text(harken, monkeypatch):
    _break(monkeypatch)
    assert "Traceback" not in harken("predict", "anything", "--", "--debug").err


def test_a_closed_pipe_is_no_error_worth_telling(start):
    """As in ``harken train --print-config | head -0``."""
    process = start("train", "--print-config")
    process.stdout.close()
    process.stdin.close()
    process.wait(timeout=60)
    with process.stderr as err:
        assert err.read() == ""


def test_a_full_disk_is_one_sentence(start):
    with Path("/dev/full").open("w") as full:
        process = start("train", "--print-config", stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "No space left" in err
    assert "Traceback" not in err
