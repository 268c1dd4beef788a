"""``harken inspect``: the layers of a saved run, their shapes and sizes, and what the output layer sees."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harken.cli.answers import check_out
from harken.cli.options import Debug, Json, Run
from harken.cli.output import chatter_aside, print_json, say
from harken.cli.runs import open_run

EXAMPLE = "harken inspect runs/mine --out model.png"


def inspect(
    run: Run,
    *,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the layers in this .png file.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show a run's layers and what they see."""
    if out is not None:
        check_out(out, None, (".png",))
    with chatter_aside(as_json):
        summary = open_run(run, {}).summary()
        if out is not None:
            summary.draw(out)
            say(f"wrote {out}")
    if as_json:
        print_json({"out": out, "layers": summary.rows, "parameters": summary.total, "output_sees": summary.sees})
    else:
        print(summary.table())
