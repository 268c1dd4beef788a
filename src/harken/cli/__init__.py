"""The command line: one file per verb, each a few lines over the library.

``harken --help`` is quick because nothing here imports torch: a verb imports what it needs when it runs.
"""

from __future__ import annotations

import itertools
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from harken._version import __version__
from harken.cli import demo, doctor, evaluate, explain, inspect, predict, train
from harken.cli.help import Grouped
from harken.cli.output import say
from harken.errors import HarkenError

__all__ = ["main"]

app = typer.Typer(name="harken", add_completion=False, rich_markup_mode=None)

for module in (train, evaluate, predict, explain, inspect, doctor, demo):
    verb = module.__name__.rpartition(".")[2]
    app.command(verb, cls=Grouped, epilog=f"Example: {module.EXAMPLE}")(getattr(module, verb))


def _print_version(asked: bool) -> None:
    if asked:
        print(f"harken {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, epilog="Example: harken demo dates --quick")
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    """Train recurrent networks that attend, and see what they attended to."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code.

    0: done. 1: the data, the saved run or the machine is at fault. 2: the command is. 130: interrupted. Every
    error is one sentence on standard error; ``--debug`` puts its traceback in front.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in itertools.takewhile("--".__ne__, arguments)
    try:
        code = app(args=arguments, prog_name="harken", standalone_mode=False)
        sys.stdout.flush()  # here, where a closed pipe can still be handled
        return int(code or 0)
    except BrokenPipeError:  # whoever read the output, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        say(f"harken: {_sentence(error, debug)}")
        return error.exit_code if isinstance(error, HarkenError | typer.TyperException) else 1


def _sentence(error: Exception, debug: bool) -> str:
    """What went wrong, on one line; an unknown option gets its nearest name."""
    if isinstance(error, HarkenError):
        return str(error)
    if isinstance(error, typer.TyperException):  # the parser's complaints: unknown options, missing arguments
        if nearest := getattr(error, "possibilities", None):
            return f"{error.message}: did you mean {nearest[0]}?"
        return " ".join(error.format_message().replace("Value error, ", "").split())
    return f"{type(error).__name__}: {error}" + ("" if debug else "; run again with --debug to see where")
