"""A whole run: sections of options, and the three spellings in which they are written and read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Self, cast, get_args

import yaml
from pydantic import ValidationError

from harken.config.section import RowsConfig, Section
from harken.config.training import TrainingConfig
from harken.errors import ConfigError

TASKS: dict[str, type[RunConfig]] = {}
"""Task → the class of its runs, as each class is defined."""


class RunConfig(Section):
    """A whole run: what `harken train --print-config` prints and `--config` reads.

    This is what the runs of all tasks share. `RunConfig.build` and `RunConfig.from_yaml` return the class that the
    task names: a `Seq2SeqRun`, where none is named, or a `SequenceRun`.
    """

    task: str
    data: RowsConfig
    features: Section
    model: Section
    training: TrainingConfig

    @classmethod
    def __pydantic_init_subclass__(cls, **keywords: Any) -> None:
        TASKS.update(dict.fromkeys(get_args(cls.model_fields["task"].annotation), cls))

    @classmethod
    def sections(cls) -> dict[str, type[Section]]:
        """Name → class of every section, in the order they are printed."""
        return {
            n: f.annotation
            for n, f in cls.model_fields.items()
            if isinstance(f.annotation, type) and issubclass(f.annotation, Section)
        }

    @classmethod
    def option_names(cls) -> dict[str, str]:
        """Flat option name → its section's name; the task itself is not among them."""
        return {field: name for name, section in cls.sections().items() for field in section.model_fields}

    @classmethod
    def build(cls, nested: Mapping[str, Any]) -> Self:
        """Validate nested values (a parsed YAML or JSON file).

        Raises:
            ConfigError: an unknown key (the nearest name is offered) or a value out of range, in one sentence.
        """
        run = cls._of_task(nested.get("task", "seq2seq")) if cls is RunConfig else cls
        try:
            return cast(Self, run.model_validate(nested))
        except ValidationError as error:
            raise ConfigError(_one_sentence(error, run)) from None

    def override(self, assignments: Iterable[str] = (), /, **options: Any) -> Self:
        """A copy with some options replaced, checked together: ``config.override(hidden_size=128, epochs=3)``.

        Another ``task`` may have another class of runs: the answer is then of that class, and of this run's options
        it keeps those that were changed and that it has too.

        Args:
            assignments: ``section.option=value`` texts, values as in YAML; flat options win over them.
            options: by their flat names; ``task`` is one too.

        Raises:
            ConfigError: an unknown name (the nearest is offered) or another task's, or a value that it does not take.
        """
        task = options.get("task", self.task)
        run = RunConfig._of_task(task)
        names = run.option_names()
        nested = self.model_dump() if run is type(self) else {name: {} for name in run.sections()}
        nested["task"] = task
        kept = {} if run is type(self) else {n: value for n, value in self.changed().items() if n in names}
        for name, value in kept.items():
            nested[names[name]][name] = value
        for assignment in assignments:
            section, name, value = _assignment(assignment)
            if section not in run.sections():
                raise ConfigError(_unknown(section, run.sections(), task))
            nested[section][name] = value
        for name, value in options.items():
            if name in names:
                nested[names[name]][name] = value
            elif name != "task":
                raise ConfigError(_unknown(name, names, task))
        return run.build(nested)  # type: ignore[return-value]  # of another class when the task says so

    def changed(self) -> dict[str, Any]:
        """The options that are not what they are by default, by their flat names."""
        defaults = type(self).build({"task": self.task})
        return {
            name: value
            for name, section in self.option_names().items()
            if (value := getattr(getattr(self, section), name)) != getattr(getattr(defaults, section), name)
        }

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read what `to_yaml` writes, or any part of it; the rest keeps its defaults."""
        try:
            nested = yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            raise ConfigError(f"the configuration is not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(nested, dict):
            raise ConfigError(
                "the configuration must be a mapping of sections, as harken train --print-config prints it"
            )
        return cls.build(nested)

    def to_yaml(self) -> str:
        """All options with their help as comments; `from_yaml` gives an equal config back."""
        lines = [_commented("task", self.task, type(self).model_fields["task"].description, "")]
        for name, section in self.sections().items():
            values = getattr(self, name)
            lines.append(f"\n# {section.__doc__}\n{name}:")
            lines += [_commented(n, getattr(values, n), f.description, "  ") for n, f in section.model_fields.items()]
        return "\n".join(lines) + "\n"

    @classmethod
    def _of_task(cls, task: object) -> type[RunConfig]:
        if isinstance(task, str) and task in TASKS:
            return TASKS[task]
        *most, last = map(repr, sorted(TASKS))
        raise ConfigError(f"task ({task!r}): input should be {', '.join(most)} or {last}")


def _assignment(text: str) -> tuple[str, str, Any]:
    """``section.option=value`` in its three parts."""
    path, equals, value = text.partition("=")
    section, dot, name = path.partition(".")
    if not equals or not dot:
        raise ConfigError(f"--set {text!r} is not section.option=value, such as model.hidden_size=128")
    try:
        return section, name, yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {text!r}: the value is not YAML, such as 3 or [a, b]") from None


def _commented(name: str, value: object, description: str | None, indent: str) -> str:
    written = yaml.safe_dump(value, allow_unicode=True, width=10_000, default_flow_style=True)
    written = written.removesuffix("\n").removesuffix("\n...")
    return f"{indent}# {description}\n{indent}{name}: {written}"


def _unknown(name: str, known: Iterable[str], task: object) -> str:
    """What to say of a name that a run does not have; the nearest that it has is offered."""
    known = list(known)
    elsewhere = [t for t, run in sorted(TASKS.items()) if name in (*run.sections(), *run.option_names())]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5 if elsewhere else 0.0)
    advice = f"did you mean {near[0]!r}?" if near else "leave it out"
    if elsewhere and task not in elsewhere:
        return f"{name!r} is an option of task={' or '.join(elsewhere)}, not of task={task}: {advice}"
    return f"{name!r} is not an option: {advice}"


def _one_sentence(error: ValidationError, run: type[RunConfig]) -> str:
    """Pydantic's first complaint in harken's words."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"][:2]]  # what follows names a member of a union
    if first["type"] == "extra_forbidden":
        section = run.sections().get(place[0]) if len(place) > 1 else run
        tasks = [task for task, other in TASKS.items() if other is run]
        return _unknown(place[-1], (section or run).model_fields, " or ".join(tasks))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return message
    return f"{'.'.join(place)} ({first['input']!r}): {message[0].lower()}{message[1:]}"
