"""`import harken` and the command line's help are quick: nothing heavy is imported before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "lightning", "pyarrow", "tokenizers", "matplotlib", "sklearn", "torchmetrics", "safetensors", "numpy")


def loaded(statement: str) -> set[str]:
    """Heavy packages that a fresh process has imported after `statement`."""
    report = f"{statement}\nimport sys\nprint('LOADED', *(name for name in {HEAVY} if name in sys.modules))"
    output = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True).stdout
    return set(output.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "statement",
    [
        "import harken",
        "import harken; dir(harken); harken.__version__",
        "import harken.errors",
        "import harken.config",
        "import harken.cli",
        "import harken; harken.RunConfig; harken.errors",
    ],
)
def test_nothing_heavy(statement):
    assert loaded(statement) == set()


def test_help_imports_nothing_heavy():
    statement = "import sys; sys.argv = ['harken', 'train', '--help']\nimport harken.cli\nassert harken.cli.main() == 0"
    assert loaded(statement) == set()


def test_a_heavy_name_is_noticed():
    assert {"torch", "numpy"} <= loaded("import harken; harken.Recurrent")
