"""The command ``oobcodec store``: what is in shared memory, and its removal."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

import oobcodec
from oobcodec import cli_tables as tables
from oobcodec.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oobcodec.store import Info, Stored


_in_directory = click.option(
    "--directory",
    default="/dev/shm",  # noqa: S108  # as in Store
    show_default=True,
    help="Where the stores are.",
)


@click.group("store")
def store_commands() -> None:
    """Show the stores of this user on this machine, and remove them."""


@store_commands.command("ls")
@click.argument("name", required=False)
@_in_directory
def ls_command(name: str | None, directory: str) -> None:
    """List the stores, or the objects of the one of a NAME."""
    if name is None:
        rows = [_summary(info) for info in _infos(directory)]
        nothing = f"there are no stores in {directory}"
    else:
        with _opened(name, directory) as store:
            rows = [_described(each) for each in sorted(store.objects())]
        nothing = f"there are no objects in {name}"
    if rows:
        tables.console().print(tables.rows(rows))
    else:
        click.echo(tables.printable(nothing))


@store_commands.command("info")
@click.argument("name")
@_in_directory
def info_command(name: str, directory: str) -> None:
    """Show how full the store of a NAME is; sizes are in bytes."""
    with _opened(name, directory) as store:
        values = asdict(store.info())
    tables.console().print(tables.facts({name: tables.cell(value) for name, value in values.items()}))


@store_commands.command("rm")
@click.argument("name")
@click.argument("keys", nargs=-1)
@_in_directory
def rm_command(name: str, keys: tuple[str, ...], directory: str) -> None:
    """Remove the store of a NAME, or only objects of it by their KEYS. Who has got an object keeps it."""
    if keys:
        with _opened(name, directory) as store:
            for key in keys:
                store.delete(key)
    else:
        _store().destroy(name, directory)


@store_commands.command("gc")
@_in_directory
def gc_command(directory: str) -> None:
    """Remove what killed processes have left: stores that nobody has open, and objects that were never complete."""
    for name in _store().gc(directory):
        click.echo(f"removed {tables.printable(name)}")
    # Who asks how full a store is has removed what is incomplete in it.
    list(_infos(directory))


def _store() -> type[oobcodec.Store]:
    try:
        return oobcodec.Store
    except ImportError as error:
        # Of systems without file locks.
        raise click.ClickException(str(error)) from error


def _opened(name: str, directory: str) -> oobcodec.Store:
    return _store()(name, directory=directory, create=False)


def _infos(directory: str) -> Iterator[Info]:
    for name in _store().list(directory):
        # One that nobody else has open goes when it is opened, and others may go at any time.
        with suppress(StoreError), _opened(name, directory) as store:
            yield store.info()


def _summary(info: Info) -> dict[str, Any]:
    names = "name", "objects", "used", "capacity", "pinned", "mapped", "persistent"
    return {name: getattr(info, name) for name in names}


def _described(stored: Stored) -> dict[str, Any]:
    used = datetime.fromtimestamp(stored.last_used / 1e9, UTC).astimezone()
    return {
        "key": stored.key,
        "bytes": stored.nbytes,
        "pinned": stored.pinned,
        "last used": used.isoformat(" ", "seconds"),
        "processes": stored.pids or None,
    }
