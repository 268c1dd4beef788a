"""What pip builds and what it is worth in an environment of its own: with a C++ compiler, and without one.

The wheel is built from the source distribution, so that this one is known to be whole. Nothing is downloaded: the
build tools are those of this environment (the dependency group `build`), which also lends torch and the rest.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch

from harken._version import __version__
from harken.engine import levels

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "harken"

COMPILERS = [os.environ.get("CXX"), "c++", "g++", "clang++"]
NO_COMPILER = dict.fromkeys(("CC", "CXX"), shutil.which("false"))

needs_a_compiler = pytest.mark.skipif(
    os.environ.get("HARKEN_REQUIRE_NATIVE") != "1" and not any(name and shutil.which(name) for name in COMPILERS),
    reason="no C++ compiler here: no native engine",
)

ANSWER = """
import json, torch, harken
from harken.engine import levels, ragged_lstm

torch.manual_seed(0)
tensors = [torch.randn(*shape) for shape in ((3, 5, 4), (24, 4), (24, 6), (24,), (24,), (3, 6), (3, 6))]
x, *weights, h0, c0 = [tensor.requires_grad_() for tensor in tensors]
lengths = torch.tensor([5, 0, 2])

def answer(dtype):
    given = [tensor.to(dtype) for tensor in (x, *weights, h0, c0)]
    results = ragged_lstm(given[0], lengths, *given[1:])
    gradients = torch.autograd.grad(sum(result.square().sum() for result in results), tensors)
    return [tensor.detach() for tensor in (*results, *gradients)]

pairs = zip(answer(torch.float32), answer(torch.float64), strict=True)
print(json.dumps({
    "file": harken.__file__,
    "module": getattr(levels.native_module(), "__file__", None),
    "reason": levels.reason(),
    "error": max(float((a - b).norm() / b.norm()) for a, b in pairs),
}))
"""


def run(*command: object, cwd: Path, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """A command in this environment but for HARKEN_… and what is given; None takes a name away."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HARKEN_")}
    kept |= {name: value for name, value in environment.items() if value is not None}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=kept, capture_output=True, text=True, timeout=600, check=False)


def build(sdist: Path, folder: Path, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """pip's way from a source distribution to a wheel in `folder`, which it makes."""
    folder.mkdir()
    pip = (sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation")
    return run(*pip, "--wheel-dir", folder, sdist, cwd=folder, **environment)


def install(wheel: Path, folder: Path) -> Path:
    """A new environment with this wheel, and what this one lends it; returns its interpreter."""
    done = run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    done = run(*pip, "install", "--no-index", "--no-deps", wheel, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    # A folder that a .pth names is searched, but its own .pth files are not read: the harken that is being tested here,
    # which is an editable one, stays out.
    lent = Path(torch.__file__).parents[1]
    next(folder.glob("lib/python*/site-packages")).joinpath("lent.pth").write_text(f"{lent}\n")
    return python


def answer(python: Path, cwd: Path) -> dict[str, object]:
    """What harken computes in that environment, seen from another folder."""
    done = run(python, "-I", "-W", "error", "-c", ANSWER, cwd=cwd)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert Path(found["file"]).is_relative_to(python.parents[1])
    assert found["error"] < 1e-5
    return found


def doctor(python: Path, cwd: Path) -> dict[str, object]:
    done = run(python.with_name("harken"), "doctor", "--json", cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    program = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    done = run(sys.executable, "-c", program, folder, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return next(folder.iterdir())


@pytest.fixture(scope="session")
def wheel(sdist, tmp_path_factory):
    """Compiled: most of a minute."""
    folder = tmp_path_factory.mktemp("native") / "wheel"
    done = build(sdist, folder, HARKEN_REQUIRE_NATIVE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.iterdir())


@pytest.fixture(scope="session")
def pure_wheel(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pure") / "wheel"
    done = build(sdist, folder, **NO_COMPILER)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.iterdir())


@pytest.fixture(scope="session")
def native(wheel, tmp_path_factory):
    return install(wheel, tmp_path_factory.mktemp("native") / "venv")


@pytest.fixture(scope="session")
def pure(pure_wheel, tmp_path_factory):
    return install(pure_wheel, tmp_path_factory.mktemp("pure") / "venv")


def sources(*suffixes: str) -> set[str]:
    """The package's own files, from `harken/` on."""
    return {str(path.relative_to(PACKAGE.parent)) for path in PACKAGE.rglob("*") if path.suffix in suffixes}


def test_the_source_distribution_has_what_a_build_needs_and_nothing_else(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    outside = {"PKG-INFO", "pyproject.toml", "CMakeLists.txt", "README.md", "CHANGELOG.md", "LICENSE"}
    assert names == outside | {f"src/{name}" for name in sources(".py", ".h", ".cpp")}
    assert "src/harken/engine/csrc/module.cpp" in names


@needs_a_compiler
def test_the_wheel_has_python_and_modules_and_no_cpp(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {name for name in names if not name.startswith(f"harken-{__version__}.dist-info/")}
    modules = {name for name in package if "_native_" in name}
    assert package - modules == sources(".py")
    found = {re.fullmatch(r"harken/engine/_native_(\w+)\..*\.(?:so|pyd)", name)[1] for name in modules}
    assert found in ({"avx512", "avx2", "baseline"}, {"generic"})
    assert f"harken-{__version__}.dist-info/licenses/LICENSE" in names


@needs_a_compiler
def test_the_native_engine_answers_in_an_empty_environment(native, tmp_path):
    found = answer(native, tmp_path)
    assert found["module"], found["reason"]
    assert Path(found["module"]).is_relative_to(native.parents[1])


@needs_a_compiler
def test_the_doctor_of_that_environment(native, tmp_path):
    found = doctor(native, tmp_path)
    assert (found["float32"], found["harken"], found["way_out"]) == ("native", __version__, None)
    assert found["level"] in found["levels"]


def test_without_a_compiler_the_wheel_is_pure(pure_wheel):
    assert pure_wheel.name == f"harken-{__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(pure_wheel).namelist()
    assert {name for name in names if not name.startswith("harken-")} == sources(".py")


def test_without_a_compiler_the_portable_engine_answers(pure, tmp_path):
    found = answer(pure, tmp_path)
    assert (found["module"], found["reason"]) == (None, "the native engine was not built when harken was installed")


def test_without_a_compiler_the_doctor_says_so_and_what_to_do(pure, tmp_path):
    found = doctor(pure, tmp_path)
    assert (found["float32"], found["built"], found["way_out"]) == ("portable", [], levels.WAY_OUT)


def test_whoever_requires_the_native_engine_gets_an_error(sdist, tmp_path):
    done = build(sdist, tmp_path / "wheel", HARKEN_REQUIRE_NATIVE="1", **NO_COMPILER)
    assert done.returncode != 0
    assert "CMake configuration failed" in done.stdout + done.stderr
    assert list((tmp_path / "wheel").iterdir()) == []


def test_the_group_build_has_what_the_build_system_requires():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    required = project["build-system"]["requires"]
    assert set(project["dependency-groups"]["build"]) == {*required, "cmake>=3.20"}
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {re.match(r"[\w-]+", name)[0] for name in project["dependency-groups"]["build"]} <= pinned
