"""The command ``oobcodec``."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any, TextIO

import oobcodec
from oobcodec import demo
from oobcodec.errors import OobError
from oobcodec.header import CHECKSUM
from oobcodec.inspection import inspect
from oobcodec.verification import LIMITS, verify

try:
    import click
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn
    from rich.text import Text

    from oobcodec import cli_tables as tables
    from oobcodec.cli_store import store_commands
except ModuleNotFoundError:
    message = 'The command oobcodec needs click and rich: pip install "oobcodec[cli]"'
    raise SystemExit(message) from None

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from oobcodec.demo import Item, Outcome

_LONG = 256_000_000
"""Bytes above which reading a file may take so long that people want to see how far it is."""


class _Interrupted(click.ClickException):
    exit_code = 128 + signal.SIGINT

    def __init__(self) -> None:
        super().__init__("interrupted")


class _Commands(click.Group):
    """Tells errors in one line each."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader has seen enough: click knows how to end
        except (OobError, OSError) as error:
            raise click.ClickException(tables.printable(str(error))) from error
        except KeyboardInterrupt:
            raise _Interrupted from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(oobcodec.__version__, prog_name="oobcodec")
def commands() -> None:
    """Turn Python objects into lists of memoryviews, without copying their data."""


commands.add_command(store_commands)


@commands.command("demo")
def demo_command() -> None:
    """Send a batch of everything to a second process, check it there, and take the time against pickle."""
    outcome = demo.run()
    console = tables.console()
    console.print(_items_table(outcome.items, console))
    for line in _totals(outcome):
        console.print(line, markup=False, highlight=False)
    if any(item.difference for item in outcome.items):
        sys.exit(1)


@commands.command("inspect")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def inspect_command(file: str, *, as_json: bool) -> None:
    """Show what is in a FILE with a packed message, without executing any of it."""
    report = inspect(file, limits=LIMITS)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
        return
    console = tables.console()
    summary = {name: tables.cell(value) for name, value in report.summary.items()}
    for name, cell in summary.items():
        if name.startswith("refused"):
            cell.stylize("red")
    console.print(tables.facts(summary))
    for title, rows in report.tables.items():
        if rows:
            console.print(tables.rows([row.to_dict() for row in rows], title))


@commands.command("verify")
@click.argument("file")
def verify_command(file: str) -> None:
    """Check that a FILE is what oobcodec.dump has written, without executing any of it."""
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn()
    # To the terminal or to nobody, and gone in the end.
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", visible=False)
        algorithm = verify(
            file, progress=lambda done, total: bar.update(task, completed=done, total=total, visible=total > _LONG)
        )
    click.echo(f"{tables.printable(file)}: {_FOUND[algorithm == CHECKSUM if algorithm else None]}")


_FOUND = {
    True: "each frame is what was written, by its checksum",
    False: "each frame is what was signed, by its digest; whose signature that is, oobcodec.load(keyring=...) tells",
    None: "one whole message, without checksums to tell if its frames are what was written; "
    "oobcodec.dump(checksum=True) adds them",
}


def _items_table(items: list[Item], console: Console) -> Table:
    right, wrong = ("✓", "✗") if console.encoding.startswith("utf") else ("yes", "no")
    numbers = ("MB", "MB out\nof band", "MB\ncopied", "MB by\npickle")
    # Without the package that compresses there is nothing to tell.
    compression = ("with lz4",) if any(item.compression for item in items) else ()
    table = tables.table(("item", "type", *numbers, "how", "shares with", *compression, "equal"), numbers)
    for item in items:
        table.add_row(
            tables.cell(item.name),
            tables.cell(item.kind),
            # Of plain objects nobody knows how many bytes they are.
            *(_megabytes(nbytes if item.nbytes else None) for nbytes in (item.nbytes, item.out_of_band, item.copied)),
            _megabytes(item.pickled),
            tables.cell(item.how),
            tables.cell(item.shared_with),
            *(tables.cell(item.compression) for _ in compression),
            Text(wrong, "red") if item.difference else Text(right, "green"),
        )
    return table


def _megabytes(nbytes: int | None) -> Text:
    return Text("-" if nbytes is None else f"{nbytes / 1e6:.3f}", justify="right")


def _totals(outcome: Outcome) -> Iterator[str]:
    for item in outcome.items:
        if item.difference:
            yield f"{item.name} arrived wrong: {item.difference}"
    megabytes = outcome.raced_nbytes / 1e6
    ours, theirs = outcome.seconds["oobcodec"], outcome.seconds["pickle"]
    yield f"{theirs / ours:.1f} times as fast as pickle, from object to object over loopback TCP:"
    for name, seconds in outcome.seconds.items():
        yield f"  {name:8}  {seconds * 1e3:7.1f} ms  {megabytes / seconds / 1e3:5.2f} GB/s"
    refused = ", ".join(item.name for item in outcome.items if item.pickled is None)
    but = f" but what pickle refuses: {refused}" if refused else ""
    yield (
        f"Best of {demo.ROUNDS} rounds in turn, with all {megabytes:.0f} MB of the above{but}. "
        "Pickle is pickle.dumps(protocol=5), a length and sendall; recv_into a bytearray and pickle.loads."
    )
    if outcome.missing:
        *most, last = outcome.missing
        libraries = f"{', '.join(most)} or {last}" if most else last
        yield f"Install {libraries} beside it to see more travel."


def main() -> None:
    """Run the command."""
    stdout: TextIO = sys.stdout
    for stream in (stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    commands()
