"""``harken predict``: a saved run's answers, on standard output or in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli import autoencoder
from harken.cli.answers import check_out, leave_out_key, row_names, write_answers
from harken.cli.examples import READING as EXAMPLES
from harken.cli.examples import read_asked, warn_of_inputs
from harken.cli.options import ANSWERING, READING, WRITING, Data, Debug, Json, Run, Texts, takes
from harken.cli.output import chatter_aside, print_json, say, working
from harken.cli.prompts import Prompt, refuse_rows, write
from harken.cli.runs import open_run
from harken.cli.texts import check_answerable, read_texts
from harken.errors import UsageError

if TYPE_CHECKING:
    from harken.data.labels import Head
    from harken.estimators.answers import HeadAnswers
    from harken.estimators.seq2seq import Seq2Seq
    from harken.estimators.sequence import SequenceEstimator

EXAMPLE = 'harken predict runs/mine "27 sept 1994" "1/2/03"'

OURS = ("prediction", "probability")  # columns of answers, beside the key or the row


@takes(*dict.fromkeys((*READING, *EXAMPLES, *ANSWERING, *WRITING)), of_a_run=True)
def predict(
    run: Run,
    texts: Texts = None,
    *,
    data: Data = None,
    prompt: Prompt = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the answers to this .parquet, .csv, .tsv or .jsonl file."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse empty rows, and rows that hold what training never showed.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
    options: dict[str, Any],
) -> None:
    """Answer rows, one answer per line; a language model goes on after a prompt.

    Texts are typed, in a file (--data), or come on standard input, one per line; other rows are in a file.
    """
    from harken.data.unused import refuse_unused

    if prompt is not None:
        refuse_rows(texts=texts, data=data, out=out)
    if out is not None:
        check_out(out, data)
    if data is not None:
        refuse_unused(data, options)
    with chatter_aside(as_json):
        estimator = open_run(run, options)
    if estimator.task == "language-model":
        refuse_rows(texts=texts, data=data, out=out)
        result = write(estimator, prompt, options, strict=strict, as_json=as_json)
        if as_json:
            print_json(result)
        return
    if prompt is not None:
        raise UsageError("--prompt is for language models, and this run answers rows: leave it out, and type texts")
    with chatter_aside(as_json):
        match estimator.task:
            case "seq2seq":
                columns, lines = _rewritten(estimator, texts, data, out, options, strict)
            case "autoencoder":
                columns, lines = autoencoder.predict(estimator, texts, data, out, options, strict)
            case _:
                columns, lines = _answered(estimator, texts, data, out, options, strict)
    if out is not None:
        write_answers(out, columns)
        say(f"wrote {len(lines)} answers to {out}")
    if as_json and out is not None:
        print_json({"out": out, "rows": len(lines)})
    elif as_json:
        rows = zip(*columns.values(), strict=True)
        print_json({"answers": [dict(zip(columns, row, strict=True)) for row in rows]})
    elif out is None:
        for line in lines:
            print(" ".join(line.splitlines()))  # an answer of several lines stays one


def _rewritten(
    estimator: Seq2Seq,
    texts: list[str] | None,
    data: str | None,
    out: Path | None,
    options: dict[str, Any],
    strict: bool,
) -> tuple[dict[str, Sequence[Any]], list[str]]:
    """The columns of answers, and a line for each."""
    leave_out_key(estimator, options, OURS)
    pairs = read_texts(texts, data, estimator.config.data, require_key="key" in options)
    name, names = row_names(estimator.config.data.key, pairs.keys, pairs.rows, OURS, out)
    check_answerable(estimator.source_tokenizer, pairs.sources, estimator.config.data, strict)
    with working(f"Answering {len(pairs.sources)} texts"):
        predictions = estimator.predict_with_probability(pairs.sources)
    return {name: names, "prediction": predictions.texts, "probability": predictions.probabilities}, predictions.texts


def _answered(
    estimator: SequenceEstimator,
    texts: list[str] | None,
    data: str | None,
    out: Path | None,
    options: dict[str, Any],
    strict: bool,
) -> tuple[dict[str, Sequence[Any]], list[str]]:
    """The same for labels, values and tags: a column for each head, and one for how probable its answers are."""
    heads, several = estimator.heads_, len(estimator.heads_) > 1
    ours = {name for head in heads for name in (head.name, f"{head.name}_probability")} if several else set(OURS)
    leave_out_key(estimator, options, ours)
    examples = read_asked(estimator, texts, data, require_key="key" in options)
    column = examples.config.key or examples.config.id
    name, names = row_names(column, examples.keys, examples.rows, ours, out)
    warn_of_inputs(estimator.predictor.encoder, examples.inputs, strict)
    with working(f"Answering {len(examples)} rows"):
        found = estimator.answers(examples.inputs)
    joint = estimator.config.data.label_delimiter or ", "
    cells = {head.name: [cell(head, label, joint) for label in found[head.name].labels] for head in heads}
    plain = out is not None and out.suffix.lower() in (".csv", ".tsv")
    columns: dict[str, Sequence[Any]] = {name: names}
    for head in heads:
        chances = _chances(head, found[head.name])
        column, beside = (head.name, f"{head.name}_probability") if several else OURS
        columns[column] = cells[head.name] if plain else found[head.name].labels
        if chances is not None:
            listed = plain and head.kind not in ("binary", "classes")
            columns[beside] = [" ".join(f"{chance:.4g}" for chance in row) for row in chances] if listed else chances
    return columns, ["\t".join(row) for row in zip(*cells.values(), strict=True)]


def _chances(head: Head, answers: HeadAnswers) -> list[Any] | None:
    """How probable each answer is: a number; of several labels one for each that is given, of tags one a step."""
    match head.kind:
        case "values":
            return None
        case "multi-label":
            place = {name: number for number, name in enumerate(head.classes)}
            rows = zip(answers.probabilities.tolist(), answers.labels, strict=True)
            return [[row[place[label]] for label in labels] for row, labels in rows]
        case "tags":
            return [steps.max(-1).tolist() for steps in answers.probabilities]
        case _:
            return list(answers.probabilities.max(-1).tolist())


def cell(head: Head, label: Any, joint: str) -> str:
    """One answer of a head as a cell or a line: several labels with ``joint``, tags with spaces between."""
    if head.kind == "multi-label":
        return joint.join(map(str, label))
    if head.kind == "tags":
        return " ".join(map(str, label))
    values = label if isinstance(label, tuple) else (label,)
    return ", ".join(f"{value:.6g}" if head.kind == "values" else str(value) for value in values)
