"""A tiny trained run, and a way to call the command line as a user does."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harken.cli import main

TINY = (
    *("--source", "question", "--target", "answer"),
    *("--hidden-size", "8", "--embedding-size", "4", "--epochs", "1", "--show-examples", "2"),
)

DECODING = (
    ("--decoder", "greedy"),
    ("--decoder", "beam"),
    ("--decoder", "beam", "--beam-size", "2"),
    ("--decoder", "beam", "--length-penalty", "0"),
    ("--decoder", "sample", "--seed", "7"),
    ("--decoder", "sample", "--temperature", "0.5"),
    ("--max-length", "3"),
)


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on standard output: fails if anything else is there."""
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The error: one line, no traceback."""
        lines = [line for line in self.err.splitlines() if not line.startswith("warning: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


@pytest.fixture
def harken(capsys, monkeypatch):
    """Run a command line in this process; ``stdin`` is text or bytes that is piped in."""

    def run(*arguments: object, stdin: str | bytes | None = None) -> Result:
        if stdin is not None:
            content = stdin.encode() if isinstance(stdin, str) else stdin
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def start():
    """Run a command line in a process of its own, with pipes on all sides."""

    def popen(*arguments: object, **keywords: Any) -> subprocess.Popen[str]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        # A background job of a shell, as `make test &`, would ignore Ctrl-C.
        hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        program = f"{hears}; import sys; from harken.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", program, *map(str, arguments)]
        return subprocess.Popen(command, text=True, **(pipes | keywords))

    return popen


@pytest.fixture(scope="session")
def interrupted(start):
    """Begin to train for ever, press Ctrl-C after the second epoch, and give what is said then."""

    def run(*arguments: object) -> str:
        process = start("train", *arguments, "--epochs", "100000")
        for line in process.stdout:
            if line.startswith("epoch 2/"):
                process.send_signal(signal.SIGINT)
                break
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert err.startswith("interrupted: ")
        return err

    return run


def write_pairs(path: Path, rows: int = 60) -> Path:
    """Digits to be written backwards, in columns id, question, answer."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "question", "answer"])
        writer.writerows([f"r{n}", str(1000 + 37 * n), str(1000 + 37 * n)[::-1]] for n in range(rows))
    return path


def train_tiny(folder: Path, *options: str) -> Path:
    """A run in ``folder``/run; what it prints is thrown away."""
    return train_quietly(write_pairs(folder / "pairs.csv"), folder / "run", *TINY, *options)


def train_quietly(data: Path, out: Path, *options: str) -> Path:
    """A run in ``out``; what it prints is thrown away."""
    kept = sys.stdout, sys.stderr
    with Path(os.devnull).open("w") as nowhere:
        sys.stdout = nowhere
        try:
            code = main(["train", str(data), *options, "--out", str(out)])
        finally:
            sys.stdout, sys.stderr = kept
    assert code == 0
    return out


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A trained attention model; tests read it and change nothing."""
    return train_tiny(tmp_path_factory.mktemp("attention"))


@pytest.fixture(scope="session")
def keyed_run(tmp_path_factory):
    """A model whose training file had keys, and rows that might have been skipped."""
    return train_tiny(tmp_path_factory.mktemp("keyed"), "--key", "id", "--skip-bad-rows")


@pytest.fixture(scope="session")
def learned_run(tmp_path_factory):
    """A model that has learned a little: its answers have several tokens, and some are right."""
    folder = tmp_path_factory.mktemp("learned")
    return train_tiny(folder, "--hidden-size", "64", "--epochs", "40", "--batch-size", "16", "--learning-rate", "0.01")


@pytest.fixture(scope="session")
def plain_run(tmp_path_factory):
    """A trained model without attention."""
    return train_tiny(tmp_path_factory.mktemp("plain"), "--kind", "plain")


@pytest.fixture(scope="session")
def train():
    """Train on a file, into a folder, with any options: ``train(data, out, *options)``."""
    return train_quietly


SENTENCES = ("the cat sat on the mat", "a dog sat on a log", "the dog saw the cat", "who is not a cat ?")

TINY_TEXT = (
    *("--task", "language-model", "--hidden-size", "16", "--embedding-size", "16", "--memory-length", "12"),
    *("--epochs", "1", "--batch-size", "4", "--bptt", "20"),
)


def write_text(path: Path, lines: int = 80) -> Path:
    """Lines of running text, each of one of a few sentences."""
    path.write_text("".join(f"{SENTENCES[n * n % 7 % 4]}\n" for n in range(lines)))
    return path


@pytest.fixture(scope="session")
def writer(tmp_path_factory):
    """A language model of words that attends to every layer, and the text that it was trained on beside it."""
    folder = tmp_path_factory.mktemp("text")
    return train_quietly(write_text(folder / "book.txt"), folder / "run", *TINY_TEXT, "--attend-layers", "all")


@pytest.fixture(scope="session")
def tiny_text():
    """Options that train on `text` in a moment."""
    return TINY_TEXT


@pytest.fixture
def text(tmp_path):
    """A fresh file of running text."""
    return write_text(tmp_path / "book.txt")


@pytest.fixture
def pairs(tmp_path):
    """A fresh file of pairs."""
    return write_pairs(tmp_path / "pairs.csv")


@pytest.fixture(scope="session")
def tiny():
    """Options that train on `pairs` in a second."""
    return TINY


@pytest.fixture(params=DECODING, ids=" ".join)
def decoding(request):
    """Options for each way of reading answers off a model."""
    return request.param
