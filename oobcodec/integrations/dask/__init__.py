"""Dask moves objects as oobcodec does, between all of its processes and to its disk.

``LocalCluster(protocol="oob://")``, or ``--protocol oob://`` of ``dask scheduler``, is all that it takes where oobcodec
is installed: see `oobcodec.integrations.dask.comm`. With the connections of Dask itself, `install` is for the client,
``--preload oobcodec.integrations.dask``, ``distributed.worker.preload`` of the configuration, or `OobWorkerPlugin` for
the workers; they may come one after the other, for what one side sends the other can read in any case.

Dask trusts all of its processes: there is no policy here, and no keyring. Between machines use ``oobs://``, with TLS.
"""

from __future__ import annotations

from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

from oobcodec.integrations.dask import family, sizes

__all__ = ["OobSchedulerPlugin", "OobWorkerPlugin", "dask_setup", "install"]


def install() -> None:
    """Let Dask serialize by oobcodec, in this process and from now on; more than once does no harm.

    What needs more than pickle has to be read where oobcodec is installed, active or not. Elsewhere it is refused with
    ``No module named 'oobcodec'``.
    """
    family.install()
    sizes.install()


def dask_setup(_: Any) -> None:
    """Do `install`, as what Dask calls in a process that preloads this module."""
    install()


class OobWorkerPlugin(WorkerPlugin):  # type: ignore[misc]  # Dask has no types here
    """Does `install` in all workers: ``client.register_plugin(OobWorkerPlugin())``."""

    name = "oobcodec"

    def setup(self, worker: Any) -> None:  # noqa: ARG002  # as Dask calls it
        """Do `install`."""
        install()


class OobSchedulerPlugin(SchedulerPlugin):  # type: ignore[misc]
    """Does `install` in the scheduler, which else knows no sizes of what is in graphs."""

    name = "oobcodec"

    async def start(self, scheduler: Any) -> None:  # noqa: ARG002
        """Do `install`."""
        install()
