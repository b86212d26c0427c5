"""What `test_aio_transfer` and `test_aio_connections` do not reach."""

import asyncio
import socket
import ssl

import pytest

from oobcodec.aio.lines import Line, WriterLine, _fail, _wake, transmit


class Sock(socket.socket):
    """One whose TLS wants to read before it can send, and to write before it can receive."""

    wants = 2

    def send(self, data):
        self.wants -= 1
        if self.wants >= 0:
            raise ssl.SSLWantReadError
        return super().send(data)


def test_what_waits_for_the_other_event_tries_again():
    async def main():
        near, far = socket.socketpair()
        with far, Sock(fileno=near.detach()) as sock:
            sock.setblocking(False)  # noqa: FBT003
            line = Line(sock)
            assert not line.exact
            assert await line.send(memoryview(b"data")) == 4
            assert far.recv(10) == b"data"

    asyncio.run(main())


def test_a_deadline_together_with_the_event_changes_nothing():
    async def main():
        done = asyncio.get_running_loop().create_future()
        _wake(done)
        _fail(done, 1)
        _wake(done)
        assert done.result() is None

    asyncio.run(main())


def test_where_nothing_was_sent_nothing_is_poisoned():
    async def main():
        near, far = socket.socketpair()
        far.close()
        with near:
            near.setblocking(False)  # noqa: FBT003
            reasons = []
            with pytest.raises(BrokenPipeError):
                await transmit(Line(near), [memoryview(b"data")], reasons.append)
            assert not reasons

    asyncio.run(main())


def test_a_writer_that_is_gone_has_no_end_to_show():
    async def main():
        near, far = socket.socketpair()
        with far:
            _, writer = await asyncio.open_unix_connection(sock=near)
            line = WriterLine(writer)
            writer.close()
            line.end()
            with pytest.raises(ConnectionResetError):
                await line.send(memoryview(b"data"))
            await writer.wait_closed()

    asyncio.run(main())
