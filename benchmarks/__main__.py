"""``python -m benchmarks``: measure oobcodec beside its peers, report what was found, compare, and check the bars."""

from __future__ import annotations

import json
import sys
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING

try:
    import click
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
except ModuleNotFoundError:
    message = 'The benchmarks need click and rich: pip install "oobcodec[cli]"'
    raise SystemExit(message) from None

from benchmarks import (
    asynchronous,
    clusters,
    compression,
    files,
    imports,
    libraries,
    machine,
    memory,
    page,
    pickling,
    plots,
    processes,
    proxystore,
    ratios,
    ray_store,
    records,
    seed,
    store,
    suite,
    text,
    transport,
    trust,
    workloads,
)
from benchmarks.plots.compression import draw
from benchmarks.timing import FULL, QUICK, settle_allocator

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.results import Result
    from benchmarks.timing import Effort

BENCHMARKS: dict[str, Callable[[Effort], list[Result]]] = {
    **{name: partial(pickling.measure, name) for name in pickling.WORKLOADS},
    **{name: partial(libraries.measure, name) for name in libraries.WORKLOADS},
    "memory": memory.measure,
    "socket": transport.measure,
    "asyncio": asynchronous.measure,
    "compression": compression.measure,
    "files": files.measure,
    "trust": trust.measure,
    "processes": processes.measure,
    "proxystore": proxystore.measure,
    "dask": clusters.measure,
    "ray": ray_store.measure,
    "store": store.measure,
    "import": imports.measure,
}
COMMANDS, COMPRESSION = "commands", "compression"
"""What a run measures besides workloads, by the names that ``--only`` knows them by."""

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure oobcodec beside what it replaces."""


@main.command()
@click.option("--quick", is_flag=True, help="Fewer rounds, and nothing above 20 MB.")
@click.option("--only", multiple=True, metavar="NAME", help="A workload or a pattern (numpy*); may be repeated.")
@click.option("--peers", multiple=True, type=click.Choice(suite.CONTENDERS), help="May be repeated.")
@click.option("-o", "--output", type=FILE, default="results.json", show_default=True, help="Where the results go.")
def run(*, quick: bool, only: tuple[str, ...], peers: tuple[str, ...], output: Path) -> None:
    """Measure each workload by each peer that is installed."""
    names = workloads.chosen(only, quick=quick, memory=machine.memory())
    besides = [name for name in (COMMANDS, COMPRESSION) if not only or name in only]
    if not names and not besides:
        known = ", ".join([*workloads.WORKLOADS, COMMANDS, COMPRESSION])
        message = f"nothing that is measured has such a name; there are: {known}"
        raise click.UsageError(message)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        steps = len(names) + len(besides)
        task = progress.add_task("starting", total=steps)
        done = iter(range(steps))

        def advance(name: str) -> None:
            if not console.is_terminal:
                console.print(f"measuring {name}", highlight=False)
            progress.update(task, description=name, completed=next(done, steps))

        # Who has waited for an hour and gives up has all that was measured.
        keep = methodcaller("save", output)
        results = suite.measure(names, peers, suite.QUICK if quick else suite.FULL, advance, keep)
        if COMPRESSION in besides:
            advance(COMPRESSION)
            results.compression = [each.to_dict() for each in compression.measure(QUICK if quick else FULL)]
        if COMMANDS in besides:
            advance(COMMANDS)
            results.commands = seed.run(quick=quick)
        progress.update(task, completed=steps)
    results.save(output)
    text.show_run(results)
    click.echo(f"python -m benchmarks report {output} makes tables and plots of it.")


@main.command()
@click.argument("results", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default="report", show_default=True)
def report(results: Path, output: Path) -> None:
    """Write the tables and plots of a run to a folder, and a page with all of them."""
    if not plots.is_possible():
        click.echo(plots.MISSING, err=True)
    click.echo(page.write(_load(results), output))


@main.command()
@click.argument("before", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("after", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--tolerance", default=1.25, show_default=True, help="By what a time may grow or shrink.")
def compare(before: Path, after: Path, tolerance: float) -> None:
    """Show what has become slower or quicker between two runs; fail if oobcodec has become slower."""
    changes = ratios.changes(_load(before), _load(after), tolerance)
    text.show_changes(changes)
    if any(change.peer == records.OURS and change.ratio > 1 for change in changes):
        sys.exit(1)


@main.command()
@click.option("--quick", is_flag=True, help="Fewer rounds, and less memory.")
@click.option("--only", type=click.Choice(list(BENCHMARKS)), metavar="NAME", help=f"One of {', '.join(BENCHMARKS)}.")
@click.option("--json", "output", type=FILE, help="Write the figures to a file.")
@click.option(
    "--plots", "folder", type=click.Path(path_type=Path), help="Draw the figures of compression into a folder."
)
def check(*, quick: bool, only: str | None, output: Path | None, folder: Path | None) -> None:
    """Hold oobcodec against its bars, and say where one is missed."""
    if folder and not plots.is_possible():
        raise click.UsageError(plots.MISSING)
    environment = machine.environment() | {"compression": compression.versions()}
    for name, value in environment.items():
        click.echo(f"{name}: {value}")
    settle_allocator()
    results = []
    for name in [only] if only else BENCHMARKS:
        click.echo(f"measuring {name}", err=True)
        results += BENCHMARKS[name](QUICK if quick else FULL)
    text.show_bars(results)
    if folder:
        draw(results, folder)
    if output:
        figures = {"environment": environment, "results": [result.to_dict() for result in results]}
        output.write_text(json.dumps(figures, indent=2))


def _load(path: Path) -> records.Results:
    try:
        return records.load(path)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"{path} is no file of `python -m benchmarks run`: {error}"
        raise click.ClickException(message) from error


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
