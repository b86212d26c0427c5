"""What `multiprocessing` and `concurrent.futures` have for moving objects between processes, without their copies.

`Pipe`, `Queue` and `ProcessPoolExecutor` take the place of those of the same names, under every start method. What
is different is said at each. The processes of a program trust each other: there is no policy here, and no keyring.
"""

from oobcodec.integrations.multiprocessing.executors import ProcessPoolExecutor
from oobcodec.integrations.multiprocessing.pipes import Connection, Pipe
from oobcodec.integrations.multiprocessing.queues import Queue

__all__ = ["Connection", "Pipe", "ProcessPoolExecutor", "Queue"]
