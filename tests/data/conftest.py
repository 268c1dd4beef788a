import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_files() -> Path:
    """The folder of real data; tests that need it are skipped on machines that have none."""
    folder = Path(os.environ.get("HARKEN_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set HARKEN_DATA")
    return folder
