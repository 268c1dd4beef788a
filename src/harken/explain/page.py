"""Attention as one HTML page that needs nothing else: no script, no font, no connection.

Texts come from anywhere, so each is escaped, and the page's own policy forbids everything but its style.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from torch import Tensor

from harken.explain.alignment import Attention
from harken.explain.labels import visible

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em; color: #222; background: #fff }}
h2 {{ font-size: 1.1em; white-space: pre-wrap }}
{style}</style>
</head>
<body>
"""

_STYLE = """table { border-collapse: collapse; margin: 0 0 1.5em }
caption { text-align: left; color: #666; white-space: nowrap }
th { font: 14px ui-monospace, monospace; padding: 0 .3em }
thead th { vertical-align: bottom }
thead .long { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; padding: .3em 0 }
tbody th { text-align: right }
td { width: 1.4em; min-width: 1.4em; height: 1.5em; border: 1px solid #eee }
"""


def framed(title: str, style: str, sections: Iterable[str], *, pictures: bool = False) -> str:
    """A whole page around sections of HTML, in which every text is escaped already.

    Args:
        pictures: the sections hold some, as ``data:`` addresses; else the page may show none.
    """
    policy = "default-src 'none'; style-src 'unsafe-inline'" + ("; img-src data:" if pictures else "")
    return f"{_HEAD.format(title=escape(title), style=style, policy=policy)}{''.join(sections)}</body>\n</html>\n"


def page(attentions: Sequence[Attention], rows: Sequence[int] | None = None) -> str:
    """A page with a heat map for each answer and head; a cell under the mouse says its weight.

    Args:
        rows: the number of each answer; default 0, 1, …
    """
    numbers = range(len(attentions)) if rows is None else rows
    sections = (_section(number, attention) for number, attention in zip(numbers, attentions, strict=True))
    return framed("attention", _STYLE, sections)


def _section(row: int, attention: Attention) -> str:
    largest = float(attention.weights.max()) if attention.weights.numel() else 1.0
    across = [escape(visible(token)) for token in attention.source_tokens]
    down = [escape(visible(token)) for token in attention.target_tokens]
    title = " → ".join(f"<bdi>{escape(_line(text))}</bdi>" for text in attention.texts)
    note = f"row {row}, darkest = {largest:.3f}"
    maps = (
        _map(across, down, weights, largest or 1.0, note if head is None else f"{note}, {attention.part} {head}")
        for head, weights in attention.heads
    )
    return f"<section>\n<h2>{title}</h2>\n{''.join(maps)}</section>\n"


def _map(across: list[str], down: list[str], weights: Tensor, largest: float, caption: str) -> str:
    long = ' class="long"' if any(len(visible) > 1 for visible in across) else ""
    header = "".join(f'<th scope="col"><span{long}>{token}</span></th>' for token in across)
    lines = []
    for answer, line in zip(down, weights.tolist(), strict=True):
        cells = "".join(
            f'<td style="background:rgba(8,81,156,{weight / largest:.3f})" title="{answer} ← {token}: {weight:.4f}">'
            "</td>"
            for token, weight in zip(across, line, strict=True)
        )
        lines.append(f'<tr><th scope="row">{answer}</th>{cells}</tr>\n')
    return (
        f"<table>\n<caption>{caption}</caption>\n<thead><tr><td></td>{header}</tr></thead>\n"
        f"<tbody>\n{''.join(lines)}</tbody>\n</table>\n"
    )


def _line(text: str) -> str:
    """One line of text: its spaces stay spaces, whatever else has no ink is shown."""
    return " ".join(map(visible, text.split(" ")))
