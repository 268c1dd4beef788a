"""``harken predict``: a saved run's answers, on standard output or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harken.cli.answers import check_out, storable, write_answers
from harken.cli.options import ANSWERING, READING, Data, Debug, Json, Run, Texts, takes
from harken.cli.output import chatter_aside, print_json, say, working
from harken.cli.runs import open_run
from harken.cli.texts import check_answerable, read_texts
from harken.errors import UsageError

EXAMPLE = 'harken predict runs/mine "27 sept 1994" "1/2/03"'

OURS = ("prediction", "probability")  # columns of answers, beside the key or the row


@takes(*READING, *ANSWERING, of_a_run=True)
def predict(
    run: Run,
    texts: Texts = None,
    *,
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the answers to this .parquet, .csv, .tsv or .jsonl file."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse empty texts, and texts that hold what training never showed.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
    options: dict[str, Any],
) -> None:
    """Answer texts, one answer per line.

    The texts are typed, in a file (--data), or come on standard input, one per line.
    """
    if out is not None:
        check_out(out, data)
    with chatter_aside(as_json):
        estimator = open_run(run, options)
        if "key" not in options and estimator.config.data.key in OURS:
            estimator.config = estimator.config.override(key=None)
        pairs = read_texts(texts, data, estimator.config.data, require_key="key" in options)
        name = (estimator.config.data.key if pairs.keys is not None else None) or "row"
        if name in OURS:
            raise UsageError(f"--key {name} is the name of a column of answers: rename the key's column")
        names = storable(pairs.rows if pairs.keys is None else pairs.keys, out)
        check_answerable(estimator.source_tokenizer, pairs.sources, estimator.config.data, strict)
        with working(f"Answering {len(pairs.sources)} texts"):
            predictions = estimator.predict_with_probability(pairs.sources)
    answers = {
        name: names,
        "prediction": predictions.texts,
        "probability": predictions.probabilities,
    }
    if out is not None:
        write_answers(out, answers)
        say(f"wrote {len(predictions.texts)} answers to {out}")
    if as_json and out is not None:
        print_json({"out": out, "rows": len(predictions.texts)})
    elif as_json:
        rows = zip(*answers.values(), strict=True)
        print_json({"answers": [dict(zip(answers, row, strict=True)) for row in rows]})
    elif out is None:
        for text in predictions.texts:
            print(" ".join(text.splitlines()))  # an answer of several lines stays one
