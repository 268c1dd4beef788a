"""The picture shows every weight at its tokens; files are written whole or not at all."""

import importlib
import io
import json
import sys
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from pyarrow import parquet

from harken.errors import DataError, UsageError
from harken.explain import heatmap
from harken.explain.alignment import Attention, table
from harken.explain.heatmap import draw, figure_of, write


def make(source: str, target: str, heads: int | None = None, words: bool = False) -> Attention:
    torch.manual_seed(len(source))
    across, down = (text.split() if words else list(text) for text in (source, target))
    weights = torch.randn(*([] if heads is None else [heads]), len(down), len(across)).softmax(-1)
    return Attention(source, target, across, down, [(i, i + 1) for i in range(len(across))], weights)


def labels(figure: Figure, head: int = 0) -> tuple[list[str], list[str]]:
    axes = figure.axes[head]
    return [t.get_text() for t in axes.get_xticklabels()], [t.get_text() for t in axes.get_yticklabels()]


def test_weights_stand_at_their_tokens() -> None:
    attention = make("27 sept 1994", "94-09")
    figure = figure_of(attention)
    across, down = labels(figure)
    assert "".join(across) == "27␣sept␣1994"
    assert "".join(down) == "94-09"
    axes, bar = figure.axes
    (image,) = axes.images
    assert torch.equal(torch.tensor(image.get_array().data), attention.weights)
    assert list(axes.get_xticks()) == list(range(12))
    bottom, top = axes.get_ylim()
    assert bottom > top  # the first token of the answer is above
    assert tuple(image.get_extent()) == (-0.5, 11.5, 4.5, -0.5)
    assert image.get_clim() == (0, attention.weights.max())
    assert bar.get_ylabel() == "attention weight"
    assert figure.texts[0].get_text() == "27 sept 1994 → 94-09"


def test_the_darkest_pixel_is_the_largest_weight() -> None:
    """On the canvas itself: neither flipped nor transposed."""
    attention = make("abcde", "xyz")
    weights = torch.full((3, 5), 0.1)
    weights[2, 1] = 0.6
    figure = figure_of(Attention(**{**vars(attention), "weights": weights}))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    buffer.seek(0)
    pixels = imread(buffer)[..., :3].sum(-1)  # (height, width), 0 is black
    transform = figure.axes[0].transData
    shades = {}
    for t in range(3):
        for s in range(5):
            x, y = transform.transform((s, t))
            shades[t, s] = pixels[round(len(pixels) - y), round(x)]
    assert min(shades, key=shades.get) == (2, 1)


def test_heads_share_the_scale_and_are_not_averaged() -> None:
    attention = make("abc", "xy", heads=3)
    figure = figure_of(attention)
    *maps, _ = figure.axes
    assert [axes.get_title() for axes in maps] == ["head 0", "head 1", "head 2"]
    for axes, weights in zip(maps, attention.weights, strict=True):
        assert torch.equal(torch.tensor(axes.images[0].get_array().data), weights)
        assert axes.images[0].get_clim() == (0, attention.weights.max())


def test_labels_of_long_texts_still_stand_at_their_own_token() -> None:
    attention = make("the quick brown fox " * 60, "ab")
    figure = figure_of(attention)
    across, _ = labels(figure)
    ticks = [int(tick) for tick in figure.axes[0].get_xticks()]
    assert across == [attention.source_tokens[tick].replace(" ", "␣") for tick in ticks]
    assert 100 < len(across) < 200
    assert max(figure.get_size_inches()) < 30


@pytest.mark.parametrize(
    "attention",
    [
        make("tuesday, september 27, 1994 ab", "1994-09-27"),
        make("a", "b"),
        make("", "abc"),
        make("abc", ""),
        make("", ""),
        make("中文 ع\té\u0301\u200b😀\U000e0fff$x^2$_\\alpha{\n", "$ 東京"),
        make("a $unclosed word " + "long" * 50, "x y", heads=2, words=True),
        make("lorem ipsum " * 10, "dolor sit a " * 10),
        make("ab", "x" * 60),
    ],
    ids=["dates", "one", "no input", "no answer", "nothing", "odd", "words", "120 by 120", "tall"],
)
def test_draws_anything_without_a_warning(tmp_path: Path, attention: Attention) -> None:
    draw(attention, tmp_path / "map.png")
    height, width, _ = imread(tmp_path / "map.png").shape
    assert min(height, width) > 150
    assert max(height, width) < 4000


def test_weights_of_zero_are_drawn(tmp_path: Path) -> None:
    attention = make("ab", "x")
    draw(Attention(**{**vars(attention), "weights": torch.zeros(1, 2)}), tmp_path / "map.png")
    assert imread(tmp_path / "map.png").size


def test_leaves_pyplot_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures are global, so a server that draws would never forget one."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it now fails
    importlib.reload(heatmap).draw(make("a", "b"), tmp_path / "map.png")


# Files

ATTENTIONS = [make("a b", "xy"), make("中", '"'), make("abc", "z", heads=2)]


def test_json(tmp_path: Path) -> None:
    assert write(ATTENTIONS, tmp_path / "rows.json", [4, 6, 7]) == [tmp_path / "rows.json"]
    expected = [row for number, a in zip([4, 6, 7], ATTENTIONS, strict=True) for row in a.rows(number)]
    assert json.loads((tmp_path / "rows.json").read_text(encoding="utf-8")) == expected


def test_parquet(tmp_path: Path) -> None:
    write(ATTENTIONS, tmp_path / "rows.parquet", [4, 6, 7])
    assert parquet.read_table(tmp_path / "rows.parquet").equals(table(ATTENTIONS, [4, 6, 7]))


@pytest.mark.parametrize("suffix", [".json", ".parquet", ".html"])
def test_no_answers_at_all(tmp_path: Path, suffix: str) -> None:
    (file,) = write([], tmp_path / f"none{suffix}")
    assert file.stat().st_size > 0


def test_png(tmp_path: Path) -> None:
    assert write(ATTENTIONS[:1], tmp_path / "new" / "map.PNG") == [tmp_path / "new" / "map.PNG"]
    assert (tmp_path / "new" / "map.PNG").read_bytes().startswith(b"\x89PNG")


def test_several_png(tmp_path: Path) -> None:
    files = write(ATTENTIONS, tmp_path / "map.png", [4, 6, 7])
    assert files == [tmp_path / f"map-{number}.png" for number in (4, 6, 7)]
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.parametrize("name", ["map.pdf", "map", "map.png.txt"])
def test_an_unknown_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"\.png, \.json, \.parquet, \.html"):
        write(ATTENTIONS, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no answer to draw"):
        write([], tmp_path / "map.png")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows.json"
    file.write_text("old")

    def full(path: Path, content: bytes) -> int:
        path.open("wb").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"cannot write .*rows.json: No space left on device"):
        write(ATTENTIONS, file)
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.json"]
    assert file.read_text() == "old"


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write"):
        write(ATTENTIONS, tmp_path / "file" / "rows.json")
