import contextlib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme

from oobcodec.connecting import connect
from oobcodec.connections import Connection
from oobcodec.errors import DecodeError, HeaderError, TruncatedError
from oobcodec.hello import HELLO_SIZE
from oobcodec.listening import listen
from oobcodec.transfer import send

SHORT = 0.05  # seconds: for timeouts that are meant to happen


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def contexts(authority, host="peer.example"):
    """Return TLS contexts for the client and the server."""
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return trusting, serving


@contextlib.contextmanager
def accepting(server, pool, **options):
    """Let one client connect to a listening socket, for whom the block is."""

    def accept():
        sock = server.accept()[0]
        if "ssl" in options:
            sock = options["ssl"].wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        with Connection(sock, role="server") as connection:
            connection.send(connection.recv())
            with contextlib.suppress(EOFError):
                connection.recv()

    with server:
        accepted = pool.submit(accept)
        yield accepted


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
@pytest.mark.parametrize("way", [connect, listen])
def test_a_timeout_leaves_some_time(way, seconds):
    with pytest.raises(ValueError, match=r"leaves no time; None is for ever"):
        way("127.0.0.1:0", timeout=seconds)


def test_connect_takes_hosts_and_ports(pool):
    for write in ("{}:{}".format, lambda *address: address):
        server = socket.create_server(("127.0.0.1", 0))
        with accepting(server, pool), connect(write(*server.getsockname()), timeout=60) as connection:
            assert connection.timeout == 60
            connection.send("hello")
            assert connection.recv() == "hello"


def test_connect_takes_paths(pool, tmp_path):
    path = tmp_path / "oob"
    for write in (lambda: path, lambda: str(path), lambda: f"unix:{path}"):
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()
        with accepting(server, pool), connect(write(), timeout=60) as connection:
            assert connection.peer == f"unix:{path}"
            connection.send("hello")
            assert connection.recv() == "hello"
        path.unlink()


def test_connect_finds_nobody(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    with pytest.raises(ConnectionRefusedError) as caught:
        connect(address)
    assert caught.value.__notes__ == [f"to connect to {address}"]
    with pytest.raises(FileNotFoundError) as caught:
        connect(tmp_path / "nobody")
    assert caught.value.__notes__ == [f"to connect to {tmp_path / 'nobody'}"]


def test_connect_waits_where_the_backlog_of_a_path_is_full(pool, tmp_path):
    path = str(tmp_path / "oob")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(path)
        server.listen(0)
        first.connect(path)
        with pytest.raises(TimeoutError, match=r"not connected within 0\.05 s: the backlog is full"):
            connect(path, timeout=SHORT)
        # Before there is room, or after.
        waiting = pool.submit(connect, path, timeout=60)
        server.accept()[0].close()
        with accepting(server, pool), waiting.result() as connection:
            connection.send("hello")
            assert connection.recv() == "hello"


@pytest.mark.parametrize("options", [{"timeout": SHORT}, {"hello_timeout": SHORT}])
def test_connect_does_not_wait_for_ever_for_a_hello(options):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(TimeoutError, match=r"no hello within 0\.05 s"),
    ):
        connect(server.getsockname(), **options)


def test_connect_closes_the_socket_where_the_hello_fails(pool):
    with socket.create_server(("127.0.0.1", 0)) as server:
        opening = pool.submit(connect, server.getsockname())
        with server.accept()[0] as sock:
            send(sock, "bare")
            with pytest.raises(HeaderError, match="It sends bare messages"):
                opening.result()
            sock.settimeout(60)
            assert len(sock.recv(100)) == HELLO_SIZE
            # Or a reset, since it was not interested in all that we have sent.
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""


def test_connect_shows_wrong_options_before_it_connects():
    address = ("127.0.0.1", 1)
    with pytest.raises(ValueError, match="server_hostname= is for TLS: give ssl= too"):
        connect(address, server_hostname="peer.example")
    with pytest.raises(TypeError, match="no_such_option"):
        connect(address, no_such_option=1)
    with pytest.raises(ValueError, match="is no address"):
        connect("localhost")


@pytest.mark.parametrize("named", [False, True])
def test_tls_checks_the_name_of_the_server(pool, authority, named):
    # By default that of the address.
    trusting, serving = contexts(authority, "peer.example" if named else "127.0.0.1")
    options = {"ssl": trusting, "timeout": 60, **({"server_hostname": "peer.example"} if named else {})}
    server = socket.create_server(("127.0.0.1", 0))
    with accepting(server, pool, ssl=serving), connect(server.getsockname(), **options) as connection:
        connection.send("hello")
        assert connection.recv() == "hello"
    server = socket.create_server(("127.0.0.1", 0))
    with accepting(server, pool, ssl=serving) as accepted:
        options["server_hostname"] = "other.example"
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(server.getsockname(), **options)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            accepted.result()


def test_tls_over_a_unix_socket_wants_a_name(pool, authority, tmp_path):
    trusting, serving = contexts(authority)
    path = tmp_path / "oob"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    with accepting(server, pool, ssl=serving) as accepted:
        with pytest.raises(ValueError, match="server_hostname"):
            connect(path, ssl=trusting)
        with pytest.raises((OSError, DecodeError)):
            accepted.result()
    path.unlink()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    with (
        accepting(server, pool, ssl=serving),
        connect(path, ssl=trusting, server_hostname="peer.example", timeout=60) as connection,
    ):
        connection.send("hello")
        assert connection.recv() == "hello"


def test_tls_with_a_server_without_it_is_an_error(pool, authority):
    server = socket.create_server(("127.0.0.1", 0))
    with accepting(server, pool) as accepted:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            connect(server.getsockname(), ssl=contexts(authority)[0], timeout=60)
        with pytest.raises(HeaderError, match="It sends TLS: give ssl= on this side too"):
            accepted.result()


def test_no_tls_with_a_server_of_it_is_an_error(pool, authority):
    server = socket.create_server(("127.0.0.1", 0))
    with accepting(server, pool, ssl=contexts(authority)[1]) as accepted:
        with pytest.raises((HeaderError, TruncatedError, ConnectionError)):
            connect(server.getsockname(), timeout=60)
        with pytest.raises(ssl.SSLError):
            accepted.result()
