"""Pictures of coloured shapes, made here, seeded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harken.errors import DataError

COLOURS = {  # the basic colour terms of English: Berlin & Kay 1969; red, green, blue from 0 to 255
    "black": (15, 15, 15),
    "white": (244, 244, 244),
    "red": (208, 22, 30),
    "green": (30, 150, 50),
    "yellow": (248, 224, 40),
    "blue": (32, 70, 208),
    "brown": (105, 60, 25),
    "orange": (252, 134, 16),
    "pink": (252, 152, 190),
    "purple": (122, 36, 158),
    "grey": (128, 128, 128),
}
SHAPES = ("circle", "square")
_JITTER = 9  # a shape's colour differs from its name's by so much at most, in each of red, green and blue
_NOISE = 6.0  # standard deviation, in every pixel
_BLOCKS, _ROUGH = 8, 9.0  # the background is made of 8 × 8 blocks, that differ by so much
_APART = 40.0  # ΔE*ab, CIE 1976, between a shape and what is behind it; 2 can just be seen
_BACKGROUNDS = 12  # to choose from, for each picture
_AT_ONCE = 250  # pictures


class Shapes(NamedTuple):
    """Pictures, and of each the list of what is in it."""

    pictures: npt.NDArray[np.uint8]  # (n, size, size, 3)
    colours: list[list[str]]
    shapes: list[list[str]]
    boxes: list[list[tuple[int, int, int, int]]]  # top, left, bottom, right; the last two are the first outside


def shapes(n: int, seed: int, *, size: int = 64, most: int = 1) -> Shapes:
    """Circles and squares in eleven colours, on grounds of other colours.

    Sizes, places, the ground, a colour's shade and the noise are random. Shapes neither overlap nor touch, and each
    differs visibly from the ground. Every colour is as likely as any other, and so is every number of shapes.

    Args:
        n: pictures.
        seed: decides everything.
        size: pixels on a side.
        most: 1: one shape in every picture; 2 or 3: from none to so many.

    Raises:
        DataError: a size in which shapes cannot be told apart, or more shapes than have room.
    """
    if size < 16:
        raise DataError(f"size ({size}) must be 16 or more, for circles to differ from squares")
    if not 1 <= most <= 3:
        raise DataError(f"most ({most}) must lie between 1 and 3: there is no room for more shapes")
    generator = np.random.default_rng(seed)
    counts = np.ones(n, dtype=int) if most == 1 else generator.integers(0, most + 1, n)
    colours = generator.integers(0, len(COLOURS), (n, most))
    kinds = generator.integers(0, len(SHAPES), (n, most))
    boxes = _places(n, size, most, generator)  # (n, most, 4)
    pictures = np.empty((n, size, size, 3), dtype=np.uint8)
    for start in range(0, n, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        there = np.arange(most) < counts[part, None]  # (b, most)
        pictures[part] = _paint(colours[part], kinds[part], boxes[part], there, size, generator)
    names = list(COLOURS)
    each = list(zip(counts.tolist(), colours.tolist(), kinds.tolist(), boxes.tolist(), strict=True))
    return Shapes(
        pictures,
        [[names[colour] for colour in row[:count]] for count, row, _, _ in each],
        [[SHAPES[kind] for kind in row[:count]] for count, _, row, _ in each],
        [[(top, left, bottom, right) for top, left, bottom, right in row[:count]] for count, _, _, row in each],
    )


def _places(n: int, size: int, most: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Boxes (n, most, 4), a pixel or more between any two of a picture: drawn again until that is so."""
    smallest, largest = max(7, round(0.2 * size)), round((0.6 if most == 1 else 0.36) * size)
    boxes = np.empty((n, most, 4), dtype=np.int64)
    todo = np.arange(n)
    while len(todo):
        sides = generator.integers(smallest, max(smallest, largest) + 1, (len(todo), most))
        top, left = generator.integers(0, size - sides + 1), generator.integers(0, size - sides + 1)
        boxes[todo] = drawn = np.stack([top, left, top + sides, left + sides], axis=-1)
        crowded = np.zeros(len(todo), dtype=bool)
        for one in range(most):
            for other in range(one):
                a, b = drawn[:, one], drawn[:, other]  # (b, 4)
                crowded |= ((a[:, :2] <= b[:, 2:]) & (b[:, :2] <= a[:, 2:])).all(axis=1)
        todo = todo[crowded]
    return boxes


def _paint(
    colours: npt.NDArray[np.int64],
    kinds: npt.NDArray[np.int64],
    boxes: npt.NDArray[np.int64],
    there: npt.NDArray[np.bool_],
    size: int,
    generator: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """Pictures (b, size, size, 3) of the shapes that are there."""
    b, most = colours.shape
    shades = np.array(list(COLOURS.values()))[colours] + generator.integers(-_JITTER, _JITTER + 1, (b, most, 3))
    ends = _grounds(shades, there, generator)  # (b, 2, 3)
    row, column = np.mgrid[:size, :size].astype(np.float32) + 0.5  # (size, size), the middle of every pixel
    angle = generator.random(b) * 2 * np.pi
    along = np.sin(angle)[:, None, None] * (row / size - 0.5) + np.cos(angle)[:, None, None] * (column / size - 0.5)
    along = np.clip(along + 0.5, 0, 1)[..., None].astype(np.float32)  # (b, size, size, 1)
    first, last = ends[:, None, None, 0].astype(np.float32), ends[:, None, None, 1].astype(np.float32)
    pictures = first + (last - first) * along  # (b, size, size, 3)
    block = np.arange(size) * _BLOCKS // size
    rough = generator.standard_normal((b, _BLOCKS, _BLOCKS, 1), dtype=np.float32) * _ROUGH
    pictures += rough[:, block][:, :, block]
    for one in range(most):
        top, left, bottom, right = (edge[:, None, None] for edge in boxes[:, one].T)  # (b, 1, 1) each
        inside = (row > top) & (row < bottom) & (column > left) & (column < right)  # (b, size, size)
        radius = (bottom - top) / 2
        circle = (row - top - radius) ** 2 + (column - left - radius) ** 2 <= radius**2
        inside &= circle | (kinds[:, one] == SHAPES.index("square"))[:, None, None]
        inside &= there[:, one, None, None]
        pictures = np.where(inside[..., None], shades[:, None, None, one].astype(np.float32), pictures)
    pictures += generator.standard_normal(pictures.shape, dtype=np.float32) * np.float32(_NOISE)
    return np.asarray(np.clip(np.rint(pictures), 0, 255), dtype=np.uint8)


def _grounds(
    shades: npt.NDArray[np.int64], there: npt.NDArray[np.bool_], generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """The two colours (b, 2, 3) between which a ground goes over: visibly others than the shapes' (b, most, 3)."""
    b = len(shades)
    start = generator.random((b, _BACKGROUNDS, 1, 3)) * 255
    end = np.clip(start + generator.uniform(-70, 70, start.shape), 0, 255)
    stops = start + (end - start) * np.array([0, 0.5, 1])[:, None]  # (b, backgrounds, 3 on the way, 3)
    apart = _lab(stops)[:, :, :, None] - _lab(shades)[:, None, None]  # (b, backgrounds, 3 on the way, most, 3)
    distance = np.where(there[:, None, None], np.sqrt((apart**2).sum(axis=-1)), np.inf)
    nearest = distance.min(axis=(2, 3))  # (b, backgrounds)
    good = nearest >= _APART
    chosen = np.where(good.any(axis=1), good.argmax(axis=1), nearest.argmax(axis=1))  # the first good one, or the best
    ends: npt.NDArray[np.float64] = np.concatenate([start, end], axis=2)[np.arange(b), chosen]
    return ends


def _lab(rgb: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """sRGB (…, 3) from 0 to 255 as CIE L*a*b* (…, 3), D65: as far apart as they look."""
    part = np.clip(np.asarray(rgb, dtype=np.float64) / 255, 0, 1)
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array(
        [[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]]
    ) / np.array([0.9505, 1, 1.089])  # fmt: skip
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
