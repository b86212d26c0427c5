import asyncio
import socket

import pytest

from oobcodec.aio.dialling import dial


def test_of_several_addresses_the_first_that_answers_is_taken():
    async def main():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as gone:
            port, other = server.getsockname()[1], gone.getsockname()[1]
            gone.close()

            async def getaddrinfo(*_, **__):
                return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", number)) for number in (other, port, other)]

            loop.getaddrinfo = getaddrinfo
            with await dial(("host", 1)) as sock:
                assert sock.getpeername()[1] == port
                assert sock.gettimeout() == 0

    asyncio.run(main())


def test_a_unix_socket_whose_backlog_is_full_is_waited_for(tmp_path):
    path = str(tmp_path / "socket")

    async def main():
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen(0)
            tasks = [asyncio.create_task(dial(path)) for _ in range(5)]
            await asyncio.sleep(0.05)
            assert not all(task.done() for task in tasks)
            server.settimeout(10)
            for _ in tasks:
                (await asyncio.to_thread(server.accept))[0].close()
            for task in tasks:
                (await task).close()

    asyncio.run(main())


def test_nobody_there_leaves_no_socket_behind(tmp_path):
    with pytest.raises(FileNotFoundError):
        asyncio.run(dial(str(tmp_path / "nothing")))
