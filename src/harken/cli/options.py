"""The options of a verb, made from the fields of the configuration.

A field of a run's configuration is an option of the command line: the same name with dashes, the same sentence of
help. Fields of one name in the runs of several tasks are one option. A verb says which fields it takes and gets those
that were typed, and only those, as one dictionary ``options``: what was not typed stays with the configuration file or
the saved run, and what the task does not have is refused by `RunConfig.override`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from harken.config import (
    INPUT_COLUMNS,
    RECIPES,
    TASKS,
    AutoencoderRun,
    LanguageModelRun,
    RunConfig,
    Seq2SeqRun,
    SequenceRun,
)
from harken.errors import UsageError

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or the bundle in it.")]
Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="Texts; put -- before one that starts with a dash."),
]
Data = Annotated[str | None, typer.Option(metavar="FILE", help="File of rows, in any format that training reads.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where in the code an error arose.")]

READING = ("source", "key", "delimiter", "skip_bad_rows", "max_characters")
"""Fields about a file of inputs."""

ANSWERING = ("decoder", "beam_size", "temperature", "seed", "length_penalty", "max_length", "quantile")
"""Fields about how an answer is read off a trained model."""

WRITING = ("top_p", "max_tokens")
"""Fields about how text is written, beside those of `ANSWERING`."""

OF_THE_DATA: dict[str, Any] = {"skip_bad_rows": False, "root": None}
"""Fields that are about one file and not about the model: what training chose for its own file does not carry over.

The answers to a file belong to its lines, so no line is left out unless somebody asks for it now.
"""

_TOLD = (*INPUT_COLUMNS, "label", "id", "time")  # by name or content of a column

_DEFAULTS = {
    "skip_bad_rows": "no",
    "root": "the folder of the file",
    **dict.fromkeys(("key", "weight"), "as the run has it, where the file has that column"),
}

RUNS: tuple[type[RunConfig], ...] = (Seq2SeqRun, SequenceRun, LanguageModelRun, AutoencoderRun)
"""The kinds of runs, in the order in which the help names them."""

Fields = dict[type[RunConfig], FieldInfo]
"""The fields of one option, by the kind of run that has it."""

_TASK = (
    "What is learned: seq2seq rewrites one text into another, classify gives a row a label, regress a value, tag gives "
    "every step a label, language-model says which token comes next in running text, autoencoder "
    "rebuilds every row. Default: told from the data, but never autoencoder."
)


def tasks_of(runs: Iterable[type[RunConfig]]) -> str:
    """What is learned by some kinds of runs, by name: classify, regress and tag."""
    *most, last = [task for run in runs for task, kind in TASKS.items() if kind is run]
    return f"{', '.join(most)} and {last}" if most else last


@functools.cache  # every option of every verb asks, before anything is done
def fields() -> dict[str, Fields]:
    """Every option by its name, the task first, then section by section, over the runs of all tasks."""
    found: dict[str, Fields] = {"task": {run: run.model_fields["task"] for run in RUNS}}
    for section in dict.fromkeys(section for run in RUNS for section in run.sections()):
        for run in RUNS:
            for name, field in run.sections()[section].model_fields.items() if section in run.sections() else ():
                found.setdefault(name, {})[run] = field
    return found


def described(name: str) -> str:
    """What an option is, in a sentence: the same for all that have it, or one for each kind of run."""
    found = fields()[name]
    sentences = _by_text({run: (field.description or "").rstrip(".") + "." for run, field in found.items()})
    if len(sentences) > 1:
        whose = {sentence: tasks_of(runs) for sentence, runs in sentences.items()}
        return " ".join(f"{tasks[0].upper()}{tasks[1:]}: {sentence}" for sentence, tasks in whose.items())
    others = [run for run in RUNS if run not in found]
    shared = len(found) > 1 and others  # of an option that one kind alone has, the heading says so
    return next(iter(sentences)) + (f" Not for {tasks_of(others)}." if shared else "")


def _by_text(said: Mapping[type[RunConfig], str]) -> dict[str, list[type[RunConfig]]]:
    """What is said → the kinds of runs of which it is."""
    found: dict[str, list[type[RunConfig]]] = {}
    for run, text in said.items():
        found.setdefault(text, []).append(run)
    return found


def takes(*names: str, of_a_run: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the options of these configuration fields; it receives them as ``options``, by name.

    With ``of_a_run``, what is not typed is as the saved run has it (but for `OF_THE_DATA`), and the help says so.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        known = fields()
        own = [p for p in inspect.signature(verb, eval_str=True).parameters.values() if p.name != "options"]
        titles = _titles()
        chosen = sorted(names, key=list(titles).index)
        generated = [_parameter(name, known[name], titles[name], of_a_run) for name in chosen]

        @functools.wraps(verb)
        def command(**values: Any) -> None:
            typed = {name: values.pop(name) for name in names}
            verb(**values, options={n: _read(v, known[n]) for n, v in typed.items() if v is not None and v != []})

        parameters = [*own, *generated]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def refuse_useless(options: Mapping[str, Any], verb: str, what: str, *, keep: Collection[str]) -> None:
    """Refuse typed options that the run has, but that change nothing in what a verb does with it.

    Args:
        options: that were typed.
        verb: its name.
        what: it works on, such as "a text".
        keep: options that matter.

    Raises:
        UsageError: there is one.
    """
    for name in options:
        if name not in keep:
            dashed = name.replace("_", "-")
            raise UsageError(f"--{dashed} changes nothing in what harken {verb} does with {what}: leave it out")


def _titles() -> dict[str, str | None]:
    """Option → the title of the group that the help shows it in (None: the first), group by group.

    A group is a section of the configuration: what several kinds of runs have of it, what is of one alone.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name, found in fields().items():
        section = next((names[name] for run in found if name in (names := run.option_names())), None)
        if section is not None:
            groups.setdefault((section, f" of {tasks_of(found)}" if len(found) == 1 else ""), []).append(name)
    sections = list(dict.fromkeys(section for section, _ in groups))
    kinds = ["", *(f" of {tasks_of([run])}" for run in RUNS)]
    order = sorted(groups, key=lambda group: (sections.index(group[0]), kinds.index(group[1])))
    return {"task": None, **{name: f"{s.capitalize()}{whose}" for s, whose in order for name in groups[s, whose]}}


def _parameter(name: str, found: Fields, title: str | None, of_a_run: bool) -> inspect.Parameter:
    """One option, unset by default so that a typed value can be told from the default."""
    dashed = name.replace("_", "-")
    kind = _kind(found)
    default = f"Default: {_DEFAULTS.get(name, 'as the run has it')}." if of_a_run else _default(name, found)
    option = typer.Option(
        f"--{dashed}/--no-{dashed}" if kind is bool else f"--{dashed}",
        help=_TASK if name == "task" else " ".join(filter(None, (described(name), default))),
        rich_help_panel=title,
        show_default=False,
        metavar="<str>" if kind == list[str] else None,
    )
    annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _kind(found: Fields) -> Any:
    """The type that the parser checks: choices, flags, numbers, lists of texts; a union with a text in it is a text."""
    plain = {member: None for field in found.values() for member in _members(field.annotation)}
    choices = [choice for member in plain if get_origin(member) is Literal for choice in get_args(member)]
    if choices:
        return Literal[tuple(dict.fromkeys(choices))]
    return next(iter(plain)) if len(plain) == 1 else str


def _members(annotation: Any) -> list[Any]:
    """The members of a union, without None and without what `Annotated` adds to them; a tuple is read as a list."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin is tuple:
        return [list[str]]
    if origin is Literal or isinstance(annotation, type):
        return [] if annotation is NoneType else [annotation]
    return [plain for member in get_args(annotation) for plain in _members(member)]


def _read(value: Any, found: Fields) -> Any:
    """A typed value; where a number or a text will do, the number if it is one (``--validation 0.2``)."""
    members = [member for field in found.values() for member in _members(field.annotation)]
    for number in (int, float):
        if isinstance(value, str) and number in members:
            try:
                return number(value)
            except ValueError:
                continue
    return value


def _default(name: str, found: Fields) -> str:
    """What holds when the option is not typed."""
    shown = _by_text({run: _shown(name, field.default) for run, field in found.items()})
    if len(shown) == 1:
        default = next(iter(shown))
    else:
        default = ", ".join(f"{value} ({tasks_of(runs)})" for value, runs in shown.items() if value)
    return default and f"Default: {default}."


def _shown(name: str, default: object) -> str:
    if name in _TOLD:
        return "told from the data"
    if default is None:
        return "by the kind of input" if name in RECIPES["text"] else ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "" if default == () else str(default)
