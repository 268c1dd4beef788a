"""Several answers about one series: attributes, any number of labels, and values; each a head of its own.

    python examples/heads.py

System 4 of the design. The series are made here, two channels of 20 to 40 steps: a wave and a drift. One `Classifier`
answers the wave's form, the drift's direction and which faults there are; a `Regressor` answers the wave's height and
its period. Logits, probabilities and labels are three things, and are called so.
"""

from __future__ import annotations

import numpy as np

import harken

SIZE = {"hidden_size": 24, "convolution": 24, "epochs": 6, "min_steps": 350, "learning_rate": 0.01}


def make_series(rows: int, seed: int) -> tuple[list[np.ndarray], dict[str, list], dict[str, list]]:
    """Series (T, 2), their attributes, and their values."""
    rng = np.random.default_rng(seed)
    series, attributes, values = [], {"form": [], "drift": [], "faults": []}, {"height": [], "period": []}
    for _ in range(rows):
        steps, height, period = int(rng.integers(20, 41)), rng.uniform(1, 3), rng.uniform(6, 14)
        form, drift = str(rng.choice(["round", "square", "saw"])), str(rng.choice(["up", "down"]))
        faults = [name for name in ("spike", "noise") if rng.random() < 0.4]
        phase = np.arange(steps) / period + rng.random()
        waves = {"round": np.sin(2 * np.pi * phase), "square": np.sign(phase % 1 - 0.5), "saw": 2 * (phase % 1) - 1}
        row = np.stack([height * waves[form], np.linspace(0, 1 if drift == "up" else -1, steps)], axis=1)
        row += rng.normal(size=row.shape) * (0.5 if "noise" in faults else 0.05)
        if "spike" in faults:
            row[rng.integers(steps), 1] += 6
        series.append(row.astype(np.float32))
        attributes["form"].append(form)
        attributes["drift"].append(drift if rng.random() < 0.9 else None)  # not everybody wrote it down
        attributes["faults"].append(faults)
        values["height"].append(height)
        values["period"].append(period)
    return series, attributes, values


def main() -> None:
    """Train both, and ask about rows that they have never seen."""
    series, attributes, values = make_series(1_000, seed=0)
    unseen, true, true_values = make_series(200, seed=1)

    model = harken.Classifier(class_weight="balanced", **SIZE).fit(series, attributes)
    evaluation = model.evaluate(unseen, true)
    for head in model.heads_:
        name = "micro_f1" if head.kind == "multi-label" else "accuracy"
        print(f"{head.name} ({head.kind}: {', '.join(map(str, head.classes))}): {name} ", end="")
        print(f"{evaluation.metrics[f'{head.name}_{name}']:.1%}")
    for name, (logits, probabilities, labels) in model.answers(unseen[:1]).items():
        print(f"  {name}: logits {logits[0].round(1)}, probabilities {probabilities[0].round(3)}, label {labels[0]!r}")

    gradients = model.explain(unseen[:1], by="gradients", head="drift")[0]
    step = int(gradients.weights[0].abs().argmax())
    print(f"  the step that moved the answer to 'drift' most: {step} of {len(gradients.steps)}")

    regressor = harken.Regressor(**SIZE).fit(series, values)
    metrics = regressor.evaluate(unseen, true_values).metrics
    for name in values:
        print(f"{name}: R² {metrics[f'{name}_r2']:.3f}, mean absolute error {metrics[f'{name}_mae']:.3f}")
    said = regressor.predict(unseen[:1])
    print("  ", ", ".join(f"{name} {said[name][0]:.2f} (is {true_values[name][0]:.2f})" for name in values))


if __name__ == "__main__":
    main()
