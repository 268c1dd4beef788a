"""``harken explain``: what a saved run looked at for its answers, and whether to believe it."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harken.cli import autoencoder
from harken.cli.answers import check_out
from harken.cli.examples import READING as EXAMPLES
from harken.cli.examples import read_asked, warn_of_inputs
from harken.cli.options import ANSWERING, READING, Data, Debug, Json, Run, Texts, refuse_useless, takes
from harken.cli.output import chatter_aside, print_json, print_table, say_written, working
from harken.cli.runs import open_run
from harken.cli.texts import check_answerable, read_texts, typed_or_piped, warn_of_unknown
from harken.errors import DataError, UsageError

if TYPE_CHECKING:
    from harken.estimators.language_model import LanguageModel
    from harken.estimators.seq2seq import Seq2Seq
    from harken.estimators.sequence import SequenceEstimator
    from harken.explain.alignment import Attention
    from harken.explain.reading import Reading

EXAMPLE = 'harken explain runs/mine "27 sept 1994" --out map.png'

LOOKED_AT = 3  # the strongest inputs that the table shows
MOST_BELIEVED = 200  # rows that --believe measures: enough to tell, and seconds


@takes(*(name for name in dict.fromkeys((*READING, *EXAMPLES, *ANSWERING)) if name != "key"), of_a_run=True)
def explain(
    run: Run,
    texts: Texts = None,
    *,
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Picture .png, page .html, rows .json or .parquet.")
    ] = None,
    by: Annotated[
        Literal["attention", "gradients"],
        typer.Option(
            help="What is shown: where the model looked, or integrated gradients (of pictures Grad-CAM). Not for "
            "seq2seq. Default: attention.",
            show_default=False,
        ),
    ] = "attention",
    head: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="By gradients: whose answer they explain, where the run has several columns of answers. "
            "Default: the first.",
        ),
    ] = None,
    believe: Annotated[
        bool,
        typer.Option("--believe", help="Measure whether the answers rest on what was looked at. Not for seq2seq."),
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
    options: dict[str, Any],
) -> None:
    """Show what the model looked at.

    For each answer, how much it attended to each piece of its row: a picture, a page, rows, or colours here.
    """
    from harken.data.unused import refuse_unused
    from harken.explain.export import SUFFIXES

    if out is not None:
        check_out(out, data, SUFFIXES)
    if data is not None:
        refuse_unused(data, options)
    with chatter_aside(as_json):
        estimator = open_run(run, options, numbered=True)
        if head is not None and by != "gradients":
            raise UsageError("--head is for --by gradients: attention is the same for all heads, so leave it out")
        if estimator.task in ("seq2seq", "language-model", "autoencoder") and (by != "attention" or believe):
            raise UsageError("--by and --believe are for runs that answer with labels or values: leave them out")
        match estimator.task:
            case "seq2seq":
                result = _pairs(estimator, texts, data, out, as_json)
            case "language-model":
                refuse_useless(options, "explain", "a text", keep=("encoding",) if data else ())
                result = _running(estimator, texts, data, out, as_json)
            case "autoencoder":
                result = autoencoder.explain(estimator, texts, data, out, as_json)
            case _:
                result = _examples(estimator, texts, data, out, by, head, believe, as_json)
    if as_json:
        print_json({"out": out, **result})


def _pairs(
    estimator: Seq2Seq, texts: list[str] | None, data: str | None, out: Path | None, as_json: bool
) -> dict[str, Any]:
    pairs = read_texts(texts, data, estimator.config.data)
    check_answerable(estimator.source_tokenizer, pairs.sources, estimator.config.data, strict=False)
    with working(f"Answering {len(pairs.sources)} texts"):
        attentions = estimator.explain(pairs.sources)
    return {"answers": [a.target for a in attentions], "rows": _rows(attentions, pairs.rows, out, as_json)}


def _running(
    model: LanguageModel, typed: list[str] | None, data: str | None, out: Path | None, as_json: bool
) -> dict[str, Any]:
    """Texts of their own, each from its beginning: those that were typed, or the lines of a file that are not blank."""
    rows, texts = _lines(typed, data, model.config.data.encoding)
    unknown = [model.predictor.tokenizer.unknown(text) for text in texts]
    pieces = list(dict.fromkeys(chain.from_iterable(unknown)))
    warn_of_unknown(sum(map(bool, unknown)), len(texts), pieces, "texts", strict=False)
    with working(f"Reading {len(texts)} texts"):
        attentions = model.explain(texts)
    return {"texts": texts, "rows": _rows(attentions, rows, out, as_json)}


def _lines(typed: list[str] | None, data: str | None, encoding: str) -> tuple[list[int], list[str]]:
    """Texts and their numbers."""
    from harken.data.running_text import RunningText

    if typed and data:
        raise UsageError("texts were typed and --data was given: leave one of them out")
    if data is None:
        texts = typed_or_piped(typed, None)
    else:
        lines = RunningText.from_files(data, encoding).lines()
        texts = [line.removesuffix("\n") for line in lines]
    kept = [row for row, text in enumerate(texts) if typed or text.strip()]
    if not kept:
        raise DataError(f"{data or 'standard input'} holds no text: give a line at least")
    return kept, [texts[row] for row in kept]


def _rows(attentions: list[Any], rows: list[int], out: Path | None, as_json: bool) -> list[dict[str, Any]]:
    """Write or print what was looked at; the weights, if they are to be in the one object on standard output."""
    from harken.explain.heatmap import write

    if out is not None:
        say_written(write(attentions, out, rows))
        return []
    if not as_json:
        for attention in attentions:
            _print(attention)
    return [line for row, attention in zip(rows, attentions, strict=True) for line in attention.rows(row)]


def _examples(
    estimator: SequenceEstimator,
    texts: list[str] | None,
    data: str | None,
    out: Path | None,
    by: Literal["attention", "gradients"],
    head: str | None,
    believe: bool,
    as_json: bool,
) -> dict[str, Any]:
    from harken.explain.reading_files import write

    examples = read_asked(estimator, texts, data)
    warn_of_inputs(estimator.predictor.encoder, examples.inputs, strict=False)
    result: dict[str, Any] = {}
    if believe:
        some = examples.inputs.take(range(min(MOST_BELIEVED, len(examples.inputs))))
        with working(f"Taking steps out of {len(some)} rows"):
            faithfulness = estimator.believe(some)
        result["believe"] = faithfulness.numbers()
        if not as_json:
            print(faithfulness.sentence())
        if out is None:
            return result
    with working(f"Answering {len(examples.inputs)} rows"):
        readings = estimator.explain(examples.inputs, by=by, head=head)
    if out is not None:
        say_written(write(readings, out, examples.rows))
    elif not as_json:
        for reading in readings:
            _show(reading)
    rows = [] if out else [line for row, r in zip(examples.rows, readings, strict=True) for line in r.rows(row)]
    answers = [_answers(row, reading) for row, reading in zip(examples.rows, readings, strict=True)]
    return {"answers": answers, "rows": rows, **result}


def _answers(row: int, reading: Reading) -> dict[str, Any]:
    """What was answered, under the names that `harken predict` has."""
    several = len(reading.answers) > 1
    found: dict[str, Any] = {"row": row}
    for answer in reading.answers:
        name, beside = (answer.head, f"{answer.head}_probability") if several else ("prediction", "probability")
        found[name] = answer.label
        if answer.probability is not None:
            found[beside] = answer.probability
    return found


def _show(reading: Reading) -> None:
    """A row with its weights as colours; where no terminal reads them, the strongest steps in words."""
    from harken.explain.colored import colored, listed

    if not sys.stdout.isatty():
        print(listed(reading))
        return
    from rich.console import Console

    Console().print(colored(reading), soft_wrap=True)


def _print(attention: Attention) -> None:
    """One line per piece of the answer (and head): the inputs that it looked at most."""
    print(" → ".join(attention.texts))
    looks: dict[tuple[int, int | None], list[dict[str, Any]]] = {}
    for row in attention.rows(0):
        looks.setdefault((row["target_index"], row["head"]), []).append(row)
    lines = []
    for (_, head), weights in looks.items():
        strongest = sorted(weights, key=lambda row: -row["weight"])[:LOOKED_AT]
        shown = "  ".join(f"{row['source']!r} {row['weight']:.2f}" for row in strongest if row["weight"] > 0)
        lines.append((repr(weights[0]["target"]), *([] if head is None else [head]), shown))
    several = bool(lines) and len(lines[0]) == 3
    print_table((attention.down, *([attention.part] if several else []), "looked at"), lines)
