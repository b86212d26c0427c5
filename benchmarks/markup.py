"""Pieces of reStructuredText, which code hosts show as it is, and a page of HTML made of it."""

from __future__ import annotations

import csv
import io
import re
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STYLE = """\
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto; margin: 1em 0; }
th, td { border-bottom: 1px solid #ddd; padding: 2px 8px; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th, td p { margin: 0; }
img { max-width: 100%; }
</style>
"""
UNDERLINES = "=-~"


def heading(text: str, level: int = 1) -> str:
    return f"{text}\n{UNDERLINES[level] * len(text)}\n"


def plain(text: str) -> str:
    """Return text in which nothing is markup."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)


def bullets(lines: Iterable[str]) -> str:
    return "".join(f"- {plain(line)}\n" for line in lines)


def literal(text: str) -> str:
    return f"::\n\n    {text}\n"


def image(name: str, text: str) -> str:
    return f".. image:: {name}.svg\n   :alt: {text}\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([plain(cell) for cell in row] for row in (header, *rows))
    lines = "".join(f"   {line}\n" for line in file.getvalue().splitlines())
    return f".. csv-table::\n   :header-rows: 1\n\n{lines}"


def html(source: str) -> str:
    """Return the page that docutils makes."""
    settings = {"embed_stylesheet": False, "stylesheet_path": None, "report_level": 2, "halt_level": 2}
    publish = import_module("docutils.core").publish_string
    page: bytes = publish(source, writer="html5", settings_overrides={**settings, "output_encoding": "utf-8"})
    return page.decode().replace("</head>", f"{STYLE}</head>")
