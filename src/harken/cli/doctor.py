"""``harken doctor``: which engine computes here, and why."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from harken._version import __version__
from harken.cli.options import Debug, Json
from harken.cli.output import print_json, say
from harken.errors import ConfigError

EXAMPLE = "harken doctor"


def doctor(*, as_json: Json = False, debug: Debug = False) -> None:
    """Say which engine computes here, and why."""
    report = _examine()
    if as_json:
        print_json(report)
    else:
        for name, value in _lines(report):
            print(f"{name:<18}{value}")
    if report["problem"]:
        say(f"harken: {report['problem']}")
        raise typer.Exit(1)


def _examine() -> dict[str, Any]:
    import torch

    from harken.engine import levels

    asked = os.environ.get("HARKEN_ENGINE") or None
    built = levels.built()
    in_torch = asked if asked in ("portable", "packed") else None
    report = {
        "harken": __version__,
        "folder": Path(__file__).parents[1],
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "torch": torch.__version__,
        "processor": levels.cpuinfo("model name") or platform.processor() or "of unknown name",
        "architecture": platform.machine(),
        "levels": [level for level in levels.runnable() if level != "generic" or level in built],
        "built": built,
        "HARKEN_ENGINE": asked,
        "float32": None,
        "level": None,
        "reason": None,
        "float64": in_torch or "portable",
        "cuda": (in_torch or "packed") if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "threads_from": "PyTorch",
        "way_out": None,
        "problem": None,
    }
    try:
        return report | _float32_on_a_cpu(asked)
    except ConfigError as error:
        return report | {"problem": str(error)}


def _float32_on_a_cpu(asked: str | None) -> dict[str, Any]:
    """The engine, and where the native one is missing, how to get it.

    Raises:
        ConfigError: ``HARKEN_ENGINE`` asks for what is not there.
    """
    import torch

    from harken.engine import backends, levels

    kernel = backends.native_kernel(torch.float32, torch.device("cpu"))
    if kernel is not None:
        reason = levels.reason() if asked in (None, "native") else "HARKEN_ENGINE asks for it"
        return {"float32": "native", "level": kernel.LEVEL, "reason": reason, "threads_from": kernel.threads_from()}
    if asked is not None:
        return {"float32": asked, "reason": "HARKEN_ENGINE asks for it"}
    return {"float32": "portable", "reason": levels.reason(), "way_out": levels.WAY_OUT}


def _lines(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The report as people read it."""
    levels, built = (", ".join(report[name]) or "none" for name in ("levels", "built"))
    yield "harken", f"{report['harken']}, {report['folder']}"
    yield "Python", f"{report['python']}, {report['interpreter']}"
    yield "torch", report["torch"]
    yield "processor", f"{report['processor']}, {report['architecture']}; it can run {levels}"
    yield "native engine", f"built for {built}"
    yield "HARKEN_ENGINE", report["HARKEN_ENGINE"] or "not set"
    if report["float32"]:
        engine = " ".join(filter(None, (report["float32"], report["level"])))
        yield "float32 on a CPU", f"{engine}: {report['reason']}"
    asked = report["HARKEN_ENGINE"] == report["float64"]
    why = "HARKEN_ENGINE asks for it" if asked else "the native engine is for float32 alone"
    yield "float64 on a CPU", f"{report['float64']}: {why}"
    yield "CUDA", report["cuda"] or "no device"
    yield "threads", f"{report['threads']}, from {report['threads_from']}; torch.set_num_threads changes it"
    if report["way_out"]:
        yield "to be faster", report["way_out"]
