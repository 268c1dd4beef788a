"""harken.cli.doctor: the truth about this installation, for people and for machines, and never a traceback."""

import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import harken as library
from harken.engine import backends, levels

NAMES = {
    *("harken", "folder", "python", "interpreter", "torch", "processor", "architecture", "levels", "built"),
    *("HARKEN_ENGINE", "float32", "level", "reason", "float64", "cuda", "threads", "threads_from"),
    *("way_out", "problem"),
}


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv("HARKEN_ENGINE", raising=False)


@pytest.fixture
def native(monkeypatch):
    """An installation with, or without, a native engine; what a level's name asks for is there with it."""

    def install(level):
        module = level and SimpleNamespace(LEVEL=level, threads_from=lambda: "libgomp")
        monkeypatch.setattr(levels, "native_module", lambda: module)
        monkeypatch.setattr(levels, "forced_module", lambda name: SimpleNamespace(LEVEL=name, threads_from=str))
        monkeypatch.setattr(levels, "reason", lambda: "the best that there is" if level else "it was not built")
        backends._kernel.cache_clear()

    yield install
    backends._kernel.cache_clear()


def test_what_is_installed(harken):
    result = harken("doctor")
    assert (result.code, result.err) == (0, "")
    for word in (library.__version__, platform.python_version(), sys.executable, torch.__version__, "not set"):
        assert word in result.out
    assert f"{torch.get_num_threads()}, from " in result.out
    assert "\x1b" not in result.out


def test_json(harken):
    found = harken("doctor", "--json").json
    assert set(found) == NAMES
    assert found["harken"] == library.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["built"] == list(levels.built())
    assert set(found["levels"]) <= set(levels.runnable())
    assert (found["float32"], found["float64"]) == ("native" if levels.native_module() else "portable", "portable")


def test_the_native_engine(harken, native):
    native("avx2")
    result = harken("doctor")
    assert "float32 on a CPU  native avx2: the best that there is\n" in result.out
    assert "float64 on a CPU  portable: the native engine is for float32 alone\n" in result.out
    assert "from libgomp" in result.out
    assert levels.WAY_OUT not in result.out
    found = harken("doctor", "--json").json
    assert (found["float32"], found["level"], found["threads_from"]) == ("native", "avx2", "libgomp")


def test_without_it_there_is_a_way_out(harken, native):
    native(None)
    result = harken("doctor")
    assert result.code == 0
    assert "float32 on a CPU  portable: it was not built\n" in result.out
    assert "from PyTorch" in result.out
    assert levels.WAY_OUT in result.out
    assert harken("doctor", "--json").json["way_out"] == levels.WAY_OUT


@pytest.mark.parametrize("engine", ["portable", "packed"])
def test_an_engine_that_the_environment_asks_for_has_no_way_out(harken, native, monkeypatch, engine):
    native(None)
    monkeypatch.setenv("HARKEN_ENGINE", engine)
    result = harken("doctor")
    assert (result.code, result.err) == (0, "")
    for numbers in ("float32", "float64"):
        assert f"{numbers} on a CPU  {engine}: HARKEN_ENGINE asks for it\n" in result.out
    assert levels.WAY_OUT not in result.out


def test_a_level_that_the_environment_asks_for(harken, native, monkeypatch):
    native("avx512")
    monkeypatch.setenv("HARKEN_ENGINE", "baseline")
    found = harken("doctor", "--json").json
    assert (found["float32"], found["level"], found["float64"]) == ("native", "baseline", "portable")
    assert found["reason"] == "HARKEN_ENGINE asks for it"
    monkeypatch.setenv("HARKEN_ENGINE", "native")
    assert harken("doctor", "--json").json["reason"] == "the best that there is"


@pytest.mark.parametrize("engine", ["turbo", "AVX2", " ", "é\n"])
@pytest.mark.parametrize("option", [(), ("--json",)])
def test_nonsense_in_the_environment_is_said(harken, monkeypatch, engine, option):
    monkeypatch.setenv("HARKEN_ENGINE", engine)
    result = harken("doctor", *option)
    assert result.code == 1
    assert f"HARKEN_ENGINE is {engine!r}" in result.sentence
    assert library.__version__ in result.out  # the rest is said all the same
    if option:
        assert result.json["problem"] in result.sentence
        assert result.json["float32"] is None


def test_a_level_that_is_not_there_is_said(harken, monkeypatch):
    missing = next(level for level in levels.LEVELS if level not in levels.built())
    backends._kernel.cache_clear()
    monkeypatch.setenv("HARKEN_ENGINE", missing)
    result = harken("doctor")
    assert result.code == 1
    assert f"the module of {missing} was not built" in result.sentence or f"has no {missing}" in result.sentence


def test_it_runs_as_a_user_runs_it(start):
    process = start("doctor", stdin=subprocess.DEVNULL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "float32 on a CPU" in out
