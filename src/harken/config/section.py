"""What every section of options is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

TokenKind = Literal["character", "word", "wordpunct", "byte", "bpe"]
Fraction = Annotated[float, Field(gt=0, lt=1)]
FractionOrNone = Annotated[float, Field(ge=0, lt=1)]  # 0: no rows at all
Columns = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
"""Names of columns; a single name may stand without brackets."""

T = TypeVar("T")
if TYPE_CHECKING:
    ByKind = Annotated[T, "None until settled"]
else:
    ByKind = Optional
"""An option whose default is in the recipe of the kind of input.

It is None until somebody sets it or `SequenceRun.settled` looks it up; whoever computes gets a settled run, and for
them, and for the type checker, it is a plain value.
"""


class Section(BaseModel):
    """A frozen group of options that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RowsConfig(Section):
    """Where the rows come from."""

    train: str | None = None


def by_kind(description: str, **bounds: float) -> Any:
    """A field of type `ByKind`."""
    return Field(None, description=description, **bounds)  # type: ignore[call-overload]
