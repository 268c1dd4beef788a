"""Help in groups: an option stands under the title that it was made with, or nobody finds one among a hundred."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class Grouped(TyperCommand):
    """A verb whose help has a heading for each group of options; Typer has them only where Rich draws boxes."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments first, then what has no title, then the groups in the order of their first options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            title = getattr(parameter, "rich_help_panel", None) or "Options"
            if record is not None:
                groups.setdefault("Arguments" if parameter.param_type_name == "argument" else title, []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)
