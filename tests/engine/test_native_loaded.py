"""The installed native engine: where a C++ compiler is, it is there, and every module is what its name says.

An installation whose C++ does not compile goes on without it (pyproject.toml), and every other test would pass.
"""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from harken.engine import backends, levels

COMPILERS = [os.environ.get("CXX"), "c++", "g++", "clang++"]

needs_a_compiler = pytest.mark.skipif(
    os.environ.get("HARKEN_REQUIRE_NATIVE") != "1" and not any(name and shutil.which(name) for name in COMPILERS),
    reason="no C++ compiler here: nothing was compiled",
)


@needs_a_compiler
def test_the_native_engine_was_built():
    assert levels.native_module() is not None, levels.reason()
    assert set(levels.runnable()) & set(levels.built())


@needs_a_compiler
def test_the_best_level_of_this_processor_is_the_one():
    assert next(level for level in levels.runnable() if level in levels.built()) == levels.native_module().LEVEL


@needs_a_compiler
@pytest.mark.parametrize("level", levels.built())
def test_a_module_was_compiled_for_the_level_of_its_name(level):
    if level not in levels.runnable():
        pytest.skip(f"this processor cannot run {level}")
    assert level == levels.load(level).LEVEL


@needs_a_compiler
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch brings libgomp on Linux")
def test_threads_are_those_of_torch():
    assert levels.native_module().threads_from() == "libgomp"


@needs_a_compiler
def test_float32_on_a_cpu_is_its_work_and_nothing_else(monkeypatch):
    monkeypatch.delenv("HARKEN_ENGINE", raising=False)
    cpu = torch.device("cpu")
    assert backends.native_kernel(torch.float32, cpu) is levels.native_module()
    assert backends.native_kernel(torch.float64, cpu) is None


@needs_a_compiler
def test_a_graph_that_outlives_python_is_no_leak_to_read_about():
    program = (
        "import torch; from harken.engine import ragged_lstm\n"
        "x = torch.ones(2, 3, 4, requires_grad=True); w = [torch.ones(8, n) for n in (4, 2)]\n"
        "kept = ragged_lstm(x, torch.tensor([3, 1]), *w, None, None, torch.ones(2, 2), torch.ones(2, 2))\n"
        "import builtins; builtins.kept = kept"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "")
