"""What `oobcodec.inspect` and `oobcodec.explain` return: facts, as data and as text."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table of a report."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Report:
    """Facts about a message.

    Attributes
    ----------
    summary : dict
        Facts about the whole, by name.
    tables : dict
        Rows by the name of the table.
    """

    summary: dict[str, Any]
    tables: dict[str, Sequence[Row]]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as builtins, fit for JSON."""
        tables = {name: [row.to_dict() for row in rows] for name, rows in self.tables.items()}
        return {**self.summary, **tables}

    def __str__(self) -> str:
        """Return all of it as aligned text."""
        lines = [f"{name}: {_shown(value)}" for name, value in self.summary.items()]
        for name, rows in self.tables.items():
            if rows:
                lines += ["", name, *_aligned([row.to_dict() for row in rows])]
        return "\n".join(lines)


def _aligned(rows: Sequence[dict[str, Any]]) -> list[str]:
    cells = [[*rows[0]], *([_shown(value) for value in row.values()] for row in rows)]
    numeric = [isinstance(value, int) for value in rows[0].values()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in cells
    ]


def _shown(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case list() | tuple():
            return ", ".join(map(_shown, value))
    return str(value)
