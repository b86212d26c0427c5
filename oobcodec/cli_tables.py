"""Tables that the command prints, of whatever anybody has written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

_WIDTH = 120


def console() -> Console:
    """Return what prints to the standard output, as wide as the terminal if it is one."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDTH)


def table(columns: Iterable[str], numbers: Container[str] = (), title: str | None = None) -> Table:
    """Return an empty table.

    Parameters
    ----------
    columns, title
        What is above it.
    numbers
        The columns that are never broken into lines.
    """
    made = Table(title=title, title_justify="left")
    for column in columns:
        # Where the terminal is narrow, text goes into several lines, and no number loses its end.
        made.add_column(column, no_wrap=column in numbers, overflow="fold")
    return made


def facts(values: dict[str, Text]) -> Table:
    """Return a table of names and values."""
    made = table(["name", "value"])
    made.show_header = False
    for name, value in values.items():
        made.add_row(name, value)
    return made


def rows(values: Sequence[dict[str, Any]], title: str | None = None) -> Table:
    """Return a table of rows, one at least, that all have the same columns."""
    columns = values[0]
    made = table(columns, [name for name, value in columns.items() if isinstance(value, int)], title)
    for row in values:
        made.add_row(*map(cell, row.values()))
    return made


def cell(value: Any) -> Text:
    """Return what rich prints as it is, whoever wrote the file: no markup, no terminal sequences."""
    match value:
        case None:
            text, justify = "-", "left"
        case bool():
            text, justify = ("yes" if value else "no"), "left"
        case int():
            text, justify = f"{value:,}", "right"
        case list() | tuple():
            text, justify = ", ".join(map(str, value)), "left"
        case _:
            text, justify = str(value), "left"
    return Text(printable(text), justify=justify)  # type: ignore[arg-type]


def printable(text: str) -> str:
    """Return a text with an escape for each character that a terminal could take for anything else than text."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
