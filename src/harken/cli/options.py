"""The options of a verb, made from the fields of the configuration.

A field of `RunConfig` is an option of the command line: the same name with dashes, the same sentence of help.
A verb says which fields it takes and gets those that were typed, and only those, as one dictionary ``options``:
what was not typed stays with the configuration file or the saved run.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from harken.config import RunConfig

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or the bundle in it.")]
Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="Texts; put -- before one that starts with a dash."),
]
Data = Annotated[str | None, typer.Option(metavar="FILE", help="File of rows: text, CSV, TSV, JSON Lines or Parquet.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where in the code an error arose.")]

READING = ("source", "key", "delimiter", "skip_bad_rows", "max_characters")
"""Fields about a file of inputs."""

ANSWERING = ("decoder", "beam_size", "temperature", "seed", "length_penalty", "max_length")
"""Fields about how an answer is read off a trained model."""


OF_THE_DATA = {"skip_bad_rows": False}
"""Fields that are about one file and not about the model: what training chose for its own file does not carry over.

The answers to a file belong to its lines, so no line is left out unless somebody asks for it now.
"""

_DEFAULTS = {"skip_bad_rows": "no", "key": "as the run has it, where the file has that column"}


def fields() -> dict[str, FieldInfo]:
    """Every option by its name, the task first, then section by section."""
    found = {"task": RunConfig.model_fields["task"]}
    for section in RunConfig.sections().values():
        found |= section.model_fields
    return found


def takes(*names: str, of_a_run: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the options of these configuration fields; it receives them as ``options``, by name.

    With ``of_a_run``, what is not typed is as the saved run has it (but for `OF_THE_DATA`), and the help says so.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        known = fields()
        own = [p for p in inspect.signature(verb, eval_str=True).parameters.values() if p.name != "options"]
        generated = [_parameter(name, known[name], of_a_run) for name in names]

        @functools.wraps(verb)
        def command(**values: Any) -> None:
            typed = {name: _read(value, known[name]) for name in names if (value := values.pop(name)) is not None}
            verb(**values, options=typed)

        parameters = [*own, *generated]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def _parameter(name: str, field: FieldInfo, of_a_run: bool) -> inspect.Parameter:
    """One option, unset by default so that a typed value can be told from the default."""
    dashed = name.replace("_", "-")
    kind = _kind(field.annotation)
    option = typer.Option(
        f"--{dashed}/--no-{dashed}" if kind is bool else f"--{dashed}",
        help=_help(field, _DEFAULTS.get(name, "as the run has it") if of_a_run else field.default),
        show_default=False,
    )
    annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _kind(annotation: Any) -> Any:
    """The type that the parser checks: choices, flags, numbers; a union that holds a text is read as text."""
    if get_origin(annotation) is Literal:
        return annotation
    members = [m for m in _members(annotation) if m is not type(None)]
    return members[0] if len(members) == 1 else str


def _members(annotation: Any) -> list[Any]:
    """The plain types of a union, without what `Annotated` adds to them."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if isinstance(annotation, type):
        return [annotation]
    return [plain for member in get_args(annotation) for plain in _members(member)]


def _read(value: Any, field: FieldInfo) -> Any:
    """A typed value; where a number or a text will do, the number if it is one (``--validation 0.2``)."""
    members = _members(field.annotation) if get_origin(field.annotation) is not Literal else []
    for number in (int, float):
        if isinstance(value, str) and number in members:
            try:
                return number(value)
            except ValueError:
                continue
    return value


def _help(field: FieldInfo, default: object) -> str:
    """The field's sentence and what holds when it is not typed."""
    sentence = (field.description or "").rstrip(".") + "."
    if default is None:
        return sentence
    shown = {True: "yes", False: "no"}[default] if isinstance(default, bool) else default
    return f"{sentence} Default: {shown}."
