"""Two processes on one machine, as `--devices 2` starts them: every row once, one run folder, one model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import harken

sources = [a * n for a in "abcdefgh" for n in range(1, 9)]
model = harken.Seq2Seq(hidden_size=8, embedding_size=4, batch_size=8, epochs=2, accelerator="cpu", devices=2)
model.fit(sources, [s.upper() for s in sources], validation=(sources, [s.upper() for s in sources]), out=sys.argv[1])
print(sum(p.double().sum().item() for p in model.model.parameters()))
"""


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "train.py", "run"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sums = [float(line) for line in done.stdout.splitlines()]
    assert len(sums) == 2
    assert sums[0] == sums[1]
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["validation"]["rows"] == 64
    assert metrics["training_rows"] == 64
