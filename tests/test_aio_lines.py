"""What `test_aio_transfer` and `test_aio_connections` do not reach."""

import asyncio
import socket
import ssl

import pytest

from oobcodec.aio.lines import Line, WriterLine, _fail, transmit


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
        done.set_result(None)
        _fail(done, 1)
        assert done.result() is None

    asyncio.run(main())


@pytest.mark.parametrize("ours", [False, True])
def test_the_loop_does_not_turn_around_for_what_nobody_waits_for(ours):
    async def main():
        near, far = socket.socketpair()
        near.setblocking(False)  # noqa: FBT003
        with far:
            line, calls = Line(near, ours=ours), []
            wake = line._wake
            line._wake = lambda event: calls.append(event) or wake(event)
            for _ in range(3):
                reading = asyncio.create_task(line.recv_into(memoryview(bytearray(10))))
                await asyncio.sleep(0)
                far.send(b"more")
                assert await reading == 4
            far.send(b"more")  # which nobody reads
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(calls) <= (8 if ours else 6)
            assert await line.recv_into(memoryview(bytearray(10))) == 4
            line.close()

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
