"""Two processes on one machine, as `--devices 2` starts them: every row once, one run folder, one model."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
import harken
from harken.training.module import TrainingModule

rows = []
step = TrainingModule.training_step

def training_step(self, batch, batch_idx):
    if self.current_epoch == 0:
        rows.extend(batch.rows.tolist())
    return step(self, batch, batch_idx)

TrainingModule.training_step = training_step
sources = [a * n for a in "abcdefgh" for n in range(1, 9)]
targets = [s.upper() for s in sources]
options = dict(hidden_size=8, embedding_size=4, batch_size=8, accelerator="cpu", devices=2, schedule="constant")
if "classify" in sys.argv:
    harken.training.module.LARGE = 1  # alone, it would have sparse gradients
    targets = [s[0] in "aceg" for s in sources]
    kind, options = harken.Classifier, options | {"tokens": "character"}
else:
    kind = harken.Seq2Seq
model = kind(**options, epochs=int(sys.argv[1]), checkpoint_minutes=0.0001)
model.fit(sources, targets, validation=(sources, targets), out="run", resume="resume" in sys.argv)
print([rows, sum(p.double().sum().item() for p in model.model.parameters())])
"""


def run(folder: Path, *arguments: str) -> list[tuple[list[int], float]]:
    """What each of the two processes trained on in the first epoch, and the sum of its weights."""
    done = subprocess.run(
        [sys.executable, "train.py", *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("task", ["seq2seq", "classify"])
def test_two_processes_train_one_model_and_resume_it(tmp_path: Path, task: str) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    (rows, weights), (other_rows, other_weights) = run(tmp_path, "1", task)
    assert sorted(rows + other_rows) == list(range(64))
    assert weights == other_weights
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["validation"]["rows"] == 64
    assert metrics["training_rows"] == 64

    (_, weights), (_, other_weights) = run(tmp_path, "2", "resume", task)
    assert weights == other_weights
    epochs = csv.DictReader((tmp_path / "run/history.csv").read_text().splitlines())
    assert [row["epoch"] for row in epochs] == ["1", "2"]
