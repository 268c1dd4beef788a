"""Text that a language model writes, as it comes; what it goes on after is typed or piped."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli.options import refuse_useless
from harken.cli.output import INTERRUPTED
from harken.cli.texts import check_unicode, piped, warn_of_unknown
from harken.errors import UsageError

if TYPE_CHECKING:
    from harken.estimators.language_model import LanguageModel

Prompt = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="What a language model goes on after; empty: it begins a text. Default: standard input, without its last "
        "line break, where something is piped in.",
        show_default=False,
    ),
]


def refuse_rows(**given: object) -> None:
    """Refuse what is for runs that answer rows.

    Raises:
        UsageError: texts were typed, or ``--data`` or ``--out`` was.
    """
    if given["texts"]:
        raise UsageError("a language model goes on after a prompt and answers no texts: give the text with --prompt")
    for name in ("data", "out"):
        if given[name] is not None:
            raise UsageError(
                f"--{name} is for runs that answer rows, and a language model goes on after a prompt: leave it out"
                + (", and send standard output to a file" if name == "out" else "")
            )


def write(
    model: LanguageModel, prompt: str | None, options: Mapping[str, Any], *, strict: bool, as_json: bool
) -> dict[str, Any]:
    """Let a model go on after a prompt, and show every piece of text at once; returns what is to be told of it.

    Args:
        prompt: None: what is piped in, else nothing.
        options: that were typed.
        strict: refuse a prompt with something that training never showed.
        as_json: show nothing.

    Raises:
        UsageError: an option that changes nothing, or a prompt that is not UTF-8.
        DataError: the same from standard input; or something unknown, and ``strict`` was asked for.
    """
    refuse_useless(options, "predict", "a prompt", keep=("temperature", "top_p", "max_tokens", "seed"))
    if prompt is None:
        text = "" if sys.stdin is None or sys.stdin.isatty() else piped().removesuffix("\n").removesuffix("\r")
    else:
        text = check_unicode(prompt, "--prompt")
    unknown = model.predictor.tokenizer.unknown(text)
    warn_of_unknown(int(bool(unknown)), 1, unknown, "prompts", strict)
    pieces, written = model.stream(text), []
    try:
        if not as_json:
            print(text, end="", flush=True)
        for piece in pieces:
            written.append(piece)
            if not as_json:
                print(piece, end="", flush=True)
    except KeyboardInterrupt:
        _end_line(text, written, as_json)
        raise typer.Exit(INTERRUPTED) from None
    _end_line(text, written, as_json)
    generation = model.config.generation.model_dump()
    return {"prompt": text, "text": "".join(written), **generation, "seed": model.config.training.seed}


def _end_line(prompt: str, written: list[str], as_json: bool) -> None:
    if not as_json and not (written[-1] if written else prompt).endswith("\n"):
        print(flush=True)
