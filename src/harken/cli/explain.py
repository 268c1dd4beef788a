"""``harken explain``: what a saved run looked at for each piece of its answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli.answers import check_out
from harken.cli.options import ANSWERING, READING, Data, Debug, Json, Run, Texts, takes
from harken.cli.output import chatter_aside, print_json, print_table, say, working
from harken.cli.runs import open_run
from harken.cli.texts import check_answerable, read_texts

if TYPE_CHECKING:
    from harken.explain.alignment import Attention

EXAMPLE = 'harken explain runs/mine "27 sept 1994" --out map.png'

LOOKED_AT = 3  # the strongest inputs that the table shows


@takes(*(name for name in READING if name != "key"), *ANSWERING, of_a_run=True)
def explain(
    run: Run,
    texts: Texts = None,
    *,
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Heat map .png or .html, rows .json or .parquet.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
    options: dict[str, Any],
) -> None:
    """Show what the model looked at.

    For each piece of an answer, how much it attended to each piece of the text: a picture, rows, or a table here.
    """
    from harken.explain.heatmap import SUFFIXES, write

    if out is not None:
        check_out(out, data, SUFFIXES)
    with chatter_aside(as_json):
        estimator = open_run(run, {"key": None, **options})  # rows go by their number
        pairs = read_texts(texts, data, estimator.config.data)
        check_answerable(estimator.source_tokenizer, pairs.sources, estimator.config.data, strict=False)
        with working(f"Answering {len(pairs.sources)} texts"):
            attentions = estimator.explain(pairs.sources)
        if out is not None:
            files = write(attentions, out, pairs.rows)
            say(f"wrote {files[0]}" if len(files) == 1 else f"wrote {files[0]} to {files[-1]}")
    if as_json:
        rows = [] if out else [line for row, a in zip(pairs.rows, attentions, strict=True) for line in a.rows(row)]
        print_json({"out": out, "answers": [a.target for a in attentions], "rows": rows})
    elif out is None:
        for attention in attentions:
            _print(attention)


def _print(attention: Attention) -> None:
    """One line per piece of the answer (and head): the inputs that it looked at most."""
    print(f"{attention.source} → {attention.target}")
    looks: dict[tuple[int, int | None], list[dict[str, Any]]] = {}
    for row in attention.rows(0):
        looks.setdefault((row["target_index"], row["head"]), []).append(row)
    lines = []
    for (_, head), weights in looks.items():
        strongest = sorted(weights, key=lambda row: -row["weight"])[:LOOKED_AT]
        shown = "  ".join(f"{row['source']!r} {row['weight']:.2f}" for row in strongest)
        lines.append((repr(weights[0]["target"]), *([] if head is None else [head]), shown))
    several = bool(lines) and len(lines[0]) == 3
    print_table(("answer", *(["head"] if several else []), "looked at"), lines)
