"""Where a tone goes, and how high it begins: log-mel frames, convolutions that keep the time, an LSTM, attention.

    python examples/sound.py           about a minute
    python examples/sound.py --quick   seconds, smaller

System 7 of the design. The recordings are made here, tones of 0.3 to 0.9 seconds that rise, fall, or stay; a
`Classifier` says which, a `Regressor` where they began.
"""

from __future__ import annotations

import argparse

import numpy as np

import harken

RATE = 8_000  # samples a second


def make_tones(rows: int, seed: int) -> tuple[list[np.ndarray], list[str], list[float]]:
    """Samples (L,) of each, where it goes, and its frequency at the start in Hz."""
    rng = np.random.default_rng(seed)
    tones, ways, starts = [], [], []
    for _ in range(rows):
        way, start = str(rng.choice(["up", "down", "level"])), float(rng.uniform(300, 1_500))
        end = start * {"up": 1.5, "down": 1 / 1.5, "level": 1.0}[way]
        hertz = np.linspace(start, end, int(RATE * rng.uniform(0.3, 0.9)))
        tone = 0.5 * np.sin(2 * np.pi * np.cumsum(hertz) / RATE) + 0.05 * rng.normal(size=len(hertz))
        tones.append(tone.astype(np.float32))
        ways.append(way)
        starts.append(start)
    return tones, ways, starts


def main() -> None:
    """Train both, and ask about tones that they have never heard."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    tones, ways, starts = make_tones(200 if quick else 1_000, seed=0)
    unheard, true, true_starts = make_tones(200, seed=1)

    options = {"input": "audio", "sample_rate": RATE, "cnn": 8, "mels": 32}
    options |= {"epochs": 5, "min_steps": 60, "learning_rate": 0.005} if quick else {"epochs": 8, "min_steps": 300}
    regressor = harken.Regressor(**options).fit(tones, starts)
    metrics = regressor.evaluate(unheard, true_starts).metrics
    print(f"where it begins: R² {metrics['r2']:.3f}, mean absolute error {metrics['mae']:.0f} Hz")

    model = harken.Classifier(**options).fit(tones, ways)
    reading = model.explain(unheard[:1])[0]
    step = int(reading.weights[0].argmax())
    seconds = len(unheard[0]) / RATE
    print(f"a tone that goes {true[0]}: {reading.title}; it looked most at {reading.steps[step]} of {seconds:.2f} s")
    print(f"accuracy {model.score(unheard, true):.1%}")


if __name__ == "__main__":
    main()
