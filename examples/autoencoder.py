"""Which rows are strange, and where: an LSTM autoencoder that has only seen rows that are as they should be.

    python examples/autoencoder.py           about a minute
    python examples/autoencoder.py --quick   seconds

System 9 of the design. Pulses of 40 to 70 steps are made here, no two alike; in every second test row one pulse is
missing, or stands upside down. Then the same with films: samples of any shape, (T, 8, 8, 3).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import gettempdir

import numpy as np

import harken
from harken.explain.reconstruction import write


def make_pulses(rows: int, seed: int, *, strange: bool) -> tuple[list[np.ndarray], list[int]]:
    """Series (T,), and the step around which each is strange, or would be."""
    rng = np.random.default_rng(seed)
    series, places = [], []
    for _ in range(rows):
        steps, beat, first = np.arange(rng.integers(40, 70)), rng.uniform(9, 13), rng.uniform(0, 9)
        centres = np.arange(first, len(steps), beat)
        heights = np.full(len(centres), rng.uniform(0.8, 1.2))
        odd = int(rng.integers(1, len(centres) - 1))
        heights[odd] *= rng.choice([0.0, -1.0]) if strange else 1.0
        pulses = heights * np.exp(-((steps[:, None] - centres) ** 2) / 4)  # (T, pulses)
        series.append((pulses.sum(1) + 0.02 * rng.normal(size=len(steps))).astype(np.float32))
        places.append(round(centres[odd]))
    return series, places


def make_films(rows: int, seed: int) -> list[np.ndarray]:
    """A bright column that moves to the right over 4 to 8 pictures, each (T, 8, 8, 3)."""
    rng = np.random.default_rng(seed)
    films = []
    for _ in range(rows):
        film = np.zeros((rng.integers(4, 9), 8, 8, 3), np.float32)
        for step, picture in enumerate(film):
            picture[:, step] = rng.uniform(0.5, 1)
        films.append(film)
    return films


def main() -> None:
    """Learn from normal rows, then judge both kinds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick

    options = {"epochs": 5, "min_steps": 300, "learning_rate": 0.01} if quick else {}
    films = make_films(50, seed=0)
    rebuilt = harken.Autoencoder(**options, latent_size=4).fit(films).reconstruct(films)
    error = np.mean([np.abs(a - b).mean() for a, b in zip(films, rebuilt, strict=True)])
    print(f"{len(films)} films of the shape {films[0].shape[1:]} from 4 numbers each: off by {error:.3f} of 1")

    normal, _ = make_pulses(400 if quick else 1_500, seed=1, strange=False)
    model = harken.Autoencoder(**options).fit(normal, validation=0.1)
    good, _ = make_pulses(100, seed=2, strange=False)
    odd, places = make_pulses(100, seed=3, strange=True)
    worst = [int(errors.argmax()) for errors in model.errors(odd)]
    near = np.mean([abs(found - place) <= 3 for found, place in zip(worst, places, strict=True)])
    print(f"the largest error stands at the strange pulse in {near:.0%} of the odd rows")
    picture = write(model.explain(odd[:1]), Path(gettempdir()) / "strange.png")[0]
    print(f"input, what was rebuilt, and the error of each step: {picture}")
    metrics = model.evaluate([*good, *odd], [True] * 100 + [False] * 100)
    answers = model.predict([*good, *odd])
    print(f"ROC-AUC {metrics['roc_auc']:.3f}, accuracy {np.mean(answers == [1] * 100 + [-1] * 100):.1%}")


if __name__ == "__main__":
    main()
