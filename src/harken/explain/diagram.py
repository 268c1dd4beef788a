"""A `Summary` as a picture: the source on the left, the target on the right, what joins them in the middle.

A model without a target is one chain of layers, and a language model a chain with its past beside it.
"""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from harken.explain.labels import shortened
from harken.explain.summary import SAMPLE, Layer, Summary

_WIDE, _HIGH = 2.9, 0.72  # inches, of a box
_ACROSS, _DOWN = 3.9, 1.25  # inches between the middles of neighbouring boxes
_HEADS, _LONGEST = 4, 28  # heads whose logits are drawn, and letters of a name
_LAYER, _DATA, _JOIN = "#dbe9f6", "#f3f3f3", "#fdeccf"


class _Box(NamedTuple):
    column: int  # 0 source, 1 what joins, 2 target
    row: int
    lines: list[str]
    colour: str = _LAYER


def diagram(summary: Summary) -> Figure:
    """Boxes from the ids to the logits with the shapes at the sample input; arrows the way data goes."""
    if summary.kind == "language-model":
        boxes, arrows = _past(summary)
    else:
        boxes, arrows = _chain(summary) if summary.given else _graph(summary)
    columns, rows = (max(place) + 1 for place in zip(*((box.column, box.row) for box in boxes.values()), strict=True))
    width, height = columns * _ACROSS, rows * _DOWN
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))  # one unit is one inch
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for start, end, label, looped in arrows:
        _arrow(axes, boxes[start], boxes[end], label, looped)
    for box in boxes.values():
        _draw(axes, box)
    sample = ", ".join(f"{axis} = {size}" for axis, size in summary.sample.items())
    below = height + 0.05 if summary.given else height - _DOWN / 2  # in a chain no corner is free
    axes.text(_ACROSS / 2, below, f"shapes at {sample}", ha="center", va="center", fontsize=9, clip_on=False)
    return figure


Arrow = tuple[str, str, str, bool]  # from, to, label, whether it leads to the next time step


def _chain(summary: Summary) -> tuple[dict[str, _Box], list[Arrow]]:
    """One layer below the other, then the logits of each head side by side."""
    boxes = {
        name: _Box(place, 0, [name, f"({', '.join(map(str, shape))})"], _DATA)
        for place, (name, shape) in enumerate(summary.given.items())
    }
    arrows = [(name, summary.layers[0].layer, "", False) for name in boxes]
    for row, layer in enumerate(summary.layers, start=1):
        boxes[layer.layer] = _Box(0, row, _lines(layer))
        if row > 1:
            arrows.append((summary.layers[row - 2].layer, layer.layer, "", False))
    last = summary.layers[-1]
    if len(last.shapes) > 1:
        boxes[last.layer].lines[1] = f"{len(last.shapes)} of them · {last.parameters:,} parameters"
    for place, (head, shape) in enumerate(list(last.shapes.items())[:_HEADS]):
        more = len(last.shapes) - _HEADS if place == _HEADS - 1 else 0
        lines = [
            "rebuilt" if summary.kind == "autoencoder" else shortened(f"logits of {head}", 30),
            f"({', '.join(map(str, shape))})" + f" … and {more} more" * (more > 0),
        ]
        boxes[f"logits {place}"] = _Box(place, len(summary.layers) + 1, lines, _DATA)
        arrows.append((last.layer, f"logits {place}", "", False))
    return boxes, arrows


def _past(summary: Summary) -> tuple[dict[str, _Box], list[Arrow]]:
    """A chain of layers, and attention to the right of it."""
    attentions = [layer for layer in summary.layers if layer.layer.startswith("attention")]
    joined, last, below = summary.layer("join"), "recurrent", 2
    boxes = {"ids": _Box(0, 0, ["ids so far", f"({', '.join(map(str, summary.given['ids']))})"], _DATA)}
    arrows = [("ids", "embedding", "", False), ("embedding", "recurrent", "", False)]
    for row, name in enumerate(("embedding", "recurrent"), start=1):
        layer = summary.layer(name)
        assert layer is not None  # every language model has one
        boxes[name] = _Box(0, row, _lines(layer))
    for place, layer in enumerate(attentions):
        heading = f"{layer.layer} over {summary.sample['M']} past steps"
        boxes[layer.layer] = _Box(1 + place, 3, [heading, _lines(layer)[1]])
        arrows.append(("recurrent", layer.layer, f"h of layer {place}" if len(attentions) > 1 else "h", False))
        arrows.append((layer.layer, "join", "context", False))
    if joined is not None:
        heading = "tanh of a linear map" if summary.tanh else "a linear map"
        below = 4 if attentions else 3  # a row of its own for attention, beside the chain
        boxes["join"] = _Box(0, below, [heading, _lines(joined)[1]], _JOIN)
        arrows.append(("recurrent", "join", "h", False))
        last = "join"
    below += 1
    output = summary.layers[-1]
    heading = "output, tied to the embedding" if output.kind.endswith("tied") else "output"
    boxes["output"] = _Box(0, below, [heading, _lines(output)[1]])
    boxes["logits"] = _Box(0, below + 1, ["logits", f"({', '.join(map(str, summary.logits))})"], _DATA)
    return boxes, [*arrows, (last, "output", "", False), ("output", "logits", "", False)]


def _graph(summary: Summary) -> tuple[dict[str, _Box], list[Arrow]]:
    """Two sides, and what joins them."""
    batch, source, target = (SAMPLE[axis] for axis in "BST")
    boxes = {
        "source": _Box(0, 0, ["source ids", f"({batch}, {source})"], _DATA),
        "target": _Box(2, 0, ["target ids so far", f"({batch}, {target})"], _DATA),
    }
    places = {"source_embedding": (0, 1), "encoder": (0, 2), "bridge": (1, 2), "attention": (1, 3)}
    places |= {"target_embedding": (2, 1), "decoder": (2, 2), "attentional": (2, 5)}
    below = 6 if summary.layer("attentional") else 5
    for layer in summary.layers:
        boxes[layer.layer] = _Box(*places.get(layer.layer, (2, below)), _lines(layer))
    heading = "joined" if summary.layer("attentional") else "what the output layer sees"
    boxes["join"] = _Box(2, 4, [heading, " ⊕ ".join(summary.joined)], _JOIN)
    boxes["logits"] = _Box(2, below + 1, ["logits", f"({', '.join(map(str, summary.logits))})"], _DATA)

    arrows = [("source", "source_embedding", "", False), ("source_embedding", "encoder", "", False)]
    arrows += [("target", "target_embedding", "", False), ("target_embedding", "decoder", "", False)]
    if "bridge" in boxes:
        arrows += [("encoder", "bridge", "", False), ("bridge", "decoder", "state", False)]
    else:
        peek = ", and its h at every step" if summary.kind == "peeky" else ""
        arrows += [("encoder", "decoder", f"final state{peek}", False)]
    if summary.kind == "peeky":
        arrows += [("bridge" if "bridge" in boxes else "encoder", "join", "final h at every step", False)]
    if "attention" in boxes:
        arrows += [("encoder", "attention", "keys", False), ("decoder", "attention", "query", False)]
        arrows += [("attention", "join", "context", False)]
    arrows += [("decoder", "join", "h", False)]
    last = "join"
    if "attentional" in boxes:
        arrows += [("join", "attentional", "", False), ("attentional", "decoder", "next step", True)]
        last = "attentional"
    return boxes, [*arrows, (last, "output", "", False), ("output", "logits", "", False)]


def _lines(layer: Layer) -> list[str]:
    shape = next(iter(layer.shapes.values()))  # of its main output
    shown = f"({', '.join(map(str, shape))})" + (f" × {layer.calls}" if layer.calls > 1 else "")
    return [layer.layer.replace("_", " "), f"{shown} · {layer.parameters:,} parameters"]


def _middle(box: _Box) -> tuple[float, float]:
    return (box.column + 0.5) * _ACROSS, (box.row + 0.5) * _DOWN


def _draw(axes: Axes, box: _Box) -> None:
    x, y = _middle(box)
    corner = (x - _WIDE / 2, y - _HIGH / 2)
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch(corner, _WIDE, _HIGH, boxstyle=style, facecolor=box.colour, edgecolor="#555555"))
    axes.text(x, y - 0.14, box.lines[0], ha="center", va="center", fontsize=11, fontweight="bold")
    axes.text(x, y + 0.17, box.lines[1], ha="center", va="center", fontsize=8.5)


def _arrow(axes: Axes, start: _Box, end: _Box, label: str, looped: bool) -> None:
    (x0, y0), (x1, y1) = _middle(start), _middle(end)
    if looped:  # out of the right side, back up and in again
        x0, x1, bend = x0 + _WIDE / 2, x1 + _WIDE / 2, "arc3,rad=0.35"
        where = (x0 + 0.15, (y0 + y1) / 2)
    else:
        bend = "arc3"
        if start.row == end.row:
            side = _WIDE / 2 if x1 > x0 else -_WIDE / 2
            x0, x1 = x0 + side, x1 - side
        else:
            y0, y1 = y0 + _HIGH / 2, y1 - _HIGH / 2
        where = ((x0 + x1) / 2 + (0.08 if x0 == x1 else 0), (y0 + y1) / 2 - (0.12 if start.row == end.row else 0))
    arrow = {"arrowstyle": "-|>", "color": "#333333", "connectionstyle": bend, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (x1, y1), (x0, y0), arrowprops=arrow | {"linestyle": "--" if looped else "-"})
    if label:
        alignment = "left" if x0 == x1 else "center"
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        axes.text(*where, label, ha=alignment, va="center", fontsize=9, color="#333333", bbox=ground)
