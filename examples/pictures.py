"""Colour and shape of pictures: convolutions, an LSTM over the cells of their map, attention, a head for each.

    python examples/pictures.py           about three minutes
    python examples/pictures.py --quick   seconds, smaller

System 6 of the design. The pictures are made here: a circle or a square in one of eleven colours on a ground of others.
Beside the accuracy it measures whether the attention sits on the shape, and writes a picture of what was looked at.
"""

from __future__ import annotations

import argparse

import numpy as np

import harken
from harken.data.synthetic import Shapes, shapes
from harken.explain.reading_files import write


def answers(made: Shapes) -> dict[str, list[str]]:
    """The attributes of pictures with one shape each."""
    return {"colour": [row[0] for row in made.colours], "shape": [row[0] for row in made.shapes]}


def on_the_shape(model: harken.Classifier, made: Shapes) -> float:
    """The median share of a picture's weights that lies within the shape's box."""
    shares = []
    for reading, ((top, left, bottom, right),) in zip(model.explain(list(made.pictures)), made.boxes, strict=True):
        rows, columns = reading.grid
        side = len(reading.source) // rows
        weights = np.kron(reading.weights[0].view(rows, columns).numpy(), np.ones((side, side))) / side**2
        shares.append(weights[top:bottom, left:right].sum())
    return float(np.median(shares))


def main() -> None:
    """Train, measure on new pictures, draw one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    made, unseen = shapes(800 if quick else 6_000, seed=0), shapes(200 if quick else 1_000, seed=1)

    sizes = {"cnn": 16, "epochs": 5, "min_steps": 0, "learning_rate": 0.002} if quick else {"epochs": 10}
    model = harken.Classifier(input="image", **sizes).fit(list(made.pictures), answers(made))
    metrics = model.evaluate(list(unseen.pictures), answers(unseen)).metrics
    print(f"both right: {metrics['all_right']:.1%}; shape: accuracy {metrics['shape_accuracy']:.1%}")
    print(f"attention inside the shape's box: {on_the_shape(model, unseen):.0%}")
    print(f"colour: accuracy {metrics['colour_accuracy']:.1%}")
    print(f"wrote {write(model.explain(list(unseen.pictures[:1])), 'shape.png')[0]}")


if __name__ == "__main__":
    main()
