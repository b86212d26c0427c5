import contextlib
import errno
import logging
import os
import resource
import signal
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import trustme

from oobcodec import addresses, listening
from oobcodec.auth import Keyring
from oobcodec.connecting import connect
from oobcodec.connections import Connection
from oobcodec.errors import AuthenticationError, HeaderError, InsecureError, OobError, PolicyError, TruncatedError
from oobcodec.hello import HELLO_SIZE, new_hello
from oobcodec.listening import listen
from oobcodec.policy import DATA
from oobcodec.transfer import send

KEYS = Keyring({"first": bytes(range(32))}, sign_with="first")
HERE = "127.0.0.1:0"
SHORT = 0.05  # seconds: for timeouts that are meant to happen


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def keep(pool):
    """Close what it is given, before the pool waits for its threads."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture
def listener(keep):
    return keep(listen(HERE))


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def contexts(authority):
    """Return TLS contexts for the client and the server."""
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return trusting, serving


def dialled(listener):
    """Return a bare socket that is connected to a listener."""
    where = addresses.parse(listener.address)
    if isinstance(where, tuple):
        return socket.create_connection(where)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(where)
    return sock


def name_of(sock):
    return "{}:{}".format(*sock.getsockname())


def both_sides(listener, pool, keep, **options):
    """Return the client's and the server's side of a connection."""
    client = pool.submit(connect, listener.address, timeout=60, **options)
    server = keep(listener.accept(60))
    return keep(client.result()), server


def exchange_objects(client, server):
    for here, there in ((client, server), (server, client)):
        here.send({"values": np.arange(1000)})
        np.testing.assert_array_equal(there.recv()["values"], np.arange(1000))


# Accepting


def test_a_port_is_chosen_and_told(listener, pool, keep):
    host, port = addresses.parse(listener.address)
    assert host == "127.0.0.1"
    assert port > 0
    client, server = both_sides(listener, pool, keep)
    assert client.peer == listener.address
    exchange_objects(client, server)
    assert repr(listener) == f"<Listener on {listener.address}>"


def test_a_unix_socket_has_a_path_for_an_address(tmp_path, pool, keep):
    path = tmp_path / "oob"
    listener = keep(listen(path))
    assert listener.address == f"unix:{path}"
    client, server = both_sides(listener, pool, keep)
    assert client.peer == server.peer == listener.address
    exchange_objects(client, server)


def test_options_hold_for_all_who_connect(pool, keep):
    listener = keep(listen(HERE, keyring=KEYS, policy=DATA, timeout=77, writable=False))
    for _ in range(2):
        client, server = both_sides(listener, pool, keep, keyring=KEYS)
        assert server.timeout == 77
        exchange_objects(client, server)
        client.send(np.arange(1000))
        assert not server.recv().flags.writeable
        client.send(OobError("no data"))
        with pytest.raises(PolicyError, match=f"^from {server.peer}, message 3: refused"):
            server.recv()


def test_a_port_is_free_again_at_once(pool, keep):
    listener = keep(listen(HERE))
    _, server = both_sides(listener, pool, keep)
    server.close()  # first, so that the system remembers this side
    listener.close()
    with listen(listener.address) as again:
        assert again.address == listener.address


def test_many_threads_accept_many_clients(listener, pool, keep):
    def serve():
        with listener.accept(60) as connection:
            connection.send(connection.recv())

    def ask(number):
        with connect(listener.address, timeout=60) as connection:
            connection.send(number)
            return connection.recv()

    served = [pool.submit(serve) for _ in range(4)]
    assert [asked.result() for asked in [pool.submit(ask, number) for number in range(4)]] == list(range(4))
    for done in served:
        done.result()


def test_nobody_is_a_timeout(listener, pool):
    for seconds in (SHORT, 0):
        with pytest.raises(TimeoutError, match=f"nobody has connected within {seconds} s"):
            listener.accept(seconds)
    # Nor does it wait longer for a thread that waits.
    with listener._lock:
        waiting = pool.submit(listener.accept, SHORT)
        with pytest.raises(TimeoutError, match="nobody has connected"):
            waiting.result()


def test_tls(pool, keep, authority):
    trusting, serving = contexts(authority)
    listener = keep(listen(HERE, ssl=serving))
    client, server = both_sides(listener, pool, keep, ssl=trusting)
    exchange_objects(client, server)


def test_tls_that_knows_its_clients(pool, keep, authority):
    trusting, serving = contexts(authority)
    serving.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(serving)
    listener = keep(listen(HERE, ssl=serving))
    stranger = pool.submit(connect, listener.address, ssl=trusting, timeout=60)
    with pytest.raises(OobError, match=r"no connection came of it: .*peer did not return a certificate"):
        listener.accept(60)
    with pytest.raises((OSError, TruncatedError)):
        stranger.result()
    authority.issue_cert("client.example").configure_cert(trusting)
    exchange_objects(*both_sides(listener, pool, keep, ssl=trusting))


def test_a_context_for_clients_is_refused(authority):
    with pytest.raises(ValueError, match=r"ssl= is a context for clients: make one with ssl\.create_default_context"):
        listen(HERE, ssl=contexts(authority)[0])


# Peers that come to nothing


@pytest.mark.parametrize(
    "stranger_sends",
    [
        (b"GET / HTTP/1.1\r\n\r\n", HeaderError, "the peer is not an oobcodec connection: .* It sends HTTP"),
        (b"\x16\x03\x01\x02\x00", HeaderError, ".* It sends TLS"),
        (b"", TruncatedError, "the peer closed the connection after 0 of 32 bytes of its hello"),
        (new_hello(listening=True, signing=False).encode(), HeaderError, "both sides are the server"),
        (new_hello(listening=False, signing=True).encode(), AuthenticationError, ".*both sides need keyring="),
    ],
)
def test_accept_tells_who_it_was_and_goes_on(listener, pool, keep, stranger_sends):
    data, error, words = stranger_sends
    stranger = keep(dialled(listener))
    stranger.sendall(data)
    stranger.shutdown(socket.SHUT_WR)
    with pytest.raises(error, match=f"^from {name_of(stranger)}: {words}"):
        listener.accept(60)
    exchange_objects(*both_sides(listener, pool, keep))


def test_a_bare_message_is_no_hello(listener, pool, keep):
    stranger = keep(dialled(listener))
    send(stranger, "bare")
    with pytest.raises(HeaderError, match="It sends bare messages"):
        listener.accept(60)


def test_a_reset_is_an_error_of_ours(listener, keep):
    stranger = dialled(listener)
    name = name_of(stranger)
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stranger.close()
    with pytest.raises(OobError, match=f"^from {name}: no connection came of it: .*(reset|[Bb]roken)") as caught:
        listener.accept(60)
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_what_is_no_tls_is_an_error_of_ours(pool, keep, authority):
    listener = keep(listen(HERE, ssl=contexts(authority)[1]))
    plain = pool.submit(connect, listener.address, timeout=60)
    with pytest.raises(OobError, match="no connection came of it") as caught:
        listener.accept(60)
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    with pytest.raises((OobError, OSError)):
        plain.result()


class Unwilling:
    """A TLS context that finds the connection gone."""

    protocol = ssl.PROTOCOL_TLS_SERVER

    def wrap_socket(self, sock, **options):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


def test_a_reset_before_tls_begins_is_an_error_of_ours(keep):
    listener = keep(listen(HERE, ssl=Unwilling()))
    stranger = keep(dialled(listener))
    with pytest.raises(OobError, match=f"^from {name_of(stranger)}: no connection came of it: .*reset by peer"):
        listener.accept(60)
    assert stranger.recv(1) == b""


def test_silent_peers_delay_nobody(listener, pool, keep):
    silent = [keep(dialled(listener)) for _ in range(5)]
    silent[0].sendall(b"\xd0OOB")
    for _ in range(3):
        exchange_objects(*both_sides(listener, pool, keep))


def test_silent_peers_of_tls_delay_nobody(pool, keep, authority):
    trusting, serving = contexts(authority)
    listener = keep(listen(HERE, ssl=serving))
    silent = [keep(dialled(listener)) for _ in range(5)]
    silent[0].sendall(b"\x16\x03\x01")
    exchange_objects(*both_sides(listener, pool, keep, ssl=trusting))


def test_silent_peers_have_their_time(pool, keep):
    listener = keep(listen(HERE, hello_timeout=SHORT))
    silent = [keep(dialled(listener)) for _ in range(2)]
    for sock in silent:
        with pytest.raises(OobError, match=f"^from {name_of(sock)}: .*no hello within {SHORT} s") as caught:
            listener.accept(60)
        assert isinstance(caught.value.__cause__, TimeoutError)
        assert len(sock.recv(100)) == HELLO_SIZE
        assert sock.recv(1) == b""
    exchange_objects(*both_sides(listener, pool, keep))


def test_a_hello_that_came_while_nobody_looked_is_in_time(keep):
    listener = keep(listen(HERE, hello_timeout=SHORT))
    sock = keep(dialled(listener))
    with pytest.raises(TimeoutError):
        listener.accept(0)
    sock.sendall(new_hello(listening=False, signing=False).encode())
    time.sleep(2 * SHORT)
    assert keep(listener.accept(60)).peer == name_of(sock)


def test_there_may_be_no_end_to_the_patience(keep):
    listener = keep(listen(HERE, hello_timeout=None))
    sock = keep(dialled(listener))
    with pytest.raises(TimeoutError):
        listener.accept(SHORT)
    sock.sendall(new_hello(listening=False, signing=False).encode())
    assert keep(listener.accept(60)).peer == name_of(sock)


def test_the_oldest_of_too_many_silent_peers_is_dropped(keep):
    listener = keep(listen(HERE, backlog=3))
    silent = [keep(dialled(listener)) for _ in range(4)]
    with pytest.raises(OobError, match=f"^from {name_of(silent[0])}: .*no hello while 3 others connected"):
        listener.accept(60)
    with pytest.raises(TimeoutError):
        listener.accept(0)
    assert len(listener._callers) == 3


def test_a_connection_that_is_gone_before_it_is_accepted_is_nobody(listener, monkeypatch):
    class Gone:
        def accept(self):
            raise ConnectionAbortedError(errno.ECONNABORTED, "Software caused connection abort")

    assert listener._proceed(listener._selector.get_key(listener._sock)) is None
    real = listener._sock
    monkeypatch.setattr(listener, "_sock", Gone())
    assert listener._proceed(listener._selector.get_key(real)) is None
    monkeypatch.undo()


# Iterating


def test_iterating_skips_and_warns(listener, pool, keep, caplog):
    stranger = keep(dialled(listener))
    stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with caplog.at_level(logging.WARNING, "oobcodec"):
        client = pool.submit(connect, listener.address, timeout=60)
        for connection in listener:
            exchange_objects(keep(client.result()), keep(connection))
            break
    (record,) = caplog.records
    assert record.name == "oobcodec"
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"from {name_of(stranger)}: the peer is not an oobcodec connection")
    assert record.getMessage().endswith(f"; {listener.address} goes on")


def test_iterating_ends_when_it_is_closed(listener, pool, keep):
    def serve():
        for connection in listener:
            with connection:
                connection.send(connection.recv())

    serving = pool.submit(serve)
    with connect(listener.address, timeout=60) as connection:
        connection.send(1)
        assert connection.recv() == 1
    listener.close()
    assert serving.result() is None
    assert list(listener) == []


@pytest.fixture
def exhaust(keep):
    """Take all file descriptors that the process may have, and return what gives them back."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    keep(contextlib.ExitStack()).callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)

    def exhausted():
        taken = keep(contextlib.ExitStack())
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))  # not to take a million
        with contextlib.suppress(OSError):
            while True:
                taken.callback(os.close, os.dup(0))
        return taken.close

    return exhausted


def test_without_file_descriptors_the_loop_goes_on_when_there_are_some(listener, keep, exhaust, monkeypatch, caplog):
    client = keep(dialled(listener))
    client.sendall(new_hello(listening=False, signing=False).encode())
    give_back = exhaust()
    monkeypatch.setattr(listening, "sleep", lambda _: give_back())
    with caplog.at_level(logging.WARNING, "oobcodec"):
        connection = keep(next(iter(listener)))
    assert connection.peer == name_of(client)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{listener.address} cannot accept a connection: ")
    assert record.getMessage().endswith("Too many open files")


def test_without_file_descriptors_who_is_silent_for_too_long_goes_all_the_same(keep, exhaust):
    listener = keep(listen(HERE, hello_timeout=SHORT))
    silent = keep(dialled(listener))
    with pytest.raises(TimeoutError):
        listener.accept(0)
    keep(dialled(listener))
    exhaust()
    time.sleep(2 * SHORT)
    with pytest.raises(OobError, match=f"^from {name_of(silent)}: .*no hello within"):
        listener.accept(60)


def test_without_file_descriptors_who_is_here_already_is_served_first(listener, keep, exhaust):
    client = keep(dialled(listener))
    with pytest.raises(TimeoutError):
        listener.accept(0)
    keep(dialled(listener))
    exhaust()
    client.sendall(new_hello(listening=False, signing=False).encode())
    assert keep(listener.accept(60)).peer == name_of(client)
    with pytest.raises(OSError, match="Too many open files"):
        listener.accept(60)


def test_an_error_of_the_listeners_own_ends_the_loop(listener, monkeypatch, keep):
    class Broken:
        def __init__(self, sock):
            self.sock = sock

        def accept(self):
            raise OSError(errno.EPERM, "Operation not permitted")

        def __getattr__(self, name):
            return getattr(self.sock, name)

    keep(dialled(listener))
    monkeypatch.setattr(listener, "_sock", Broken(listener._sock))
    with pytest.raises(OSError, match="Operation not permitted"):
        next(iter(listener))


def test_an_error_of_the_selector_is_not_hidden(listener, monkeypatch):
    def broken(timeout):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(listener._selector, "select", broken)
    with pytest.raises(OSError, match="Bad file descriptor"):
        listener.accept()


# The end


def test_closing_twice_does_no_harm(listener, keep):
    silent = keep(dialled(listener))
    with pytest.raises(TimeoutError):
        listener.accept(0)
    with listener as entered:
        assert entered is listener
    listener.close()
    assert repr(listener) == f"<Listener, closed, on {listener.address}>"
    with pytest.raises(OSError, match=f"the listener on {listener.address} is closed"):
        listener.accept()
    # Who was saying hello is told.
    assert len(silent.recv(100)) == HELLO_SIZE
    assert silent.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        dialled(listener)


def test_closing_ends_the_wait_of_all_threads(listener, pool):
    waiting = [pool.submit(listener.accept) for _ in range(3)]
    listener.close()
    for waits in waiting:
        with pytest.raises(OSError, match="is closed"):
            waits.result()


def test_a_signal_handler_may_close_it_under_the_wait(listener):
    previous = signal.signal(signal.SIGUSR1, lambda *_: listener.close())
    kick = threading.Timer(SHORT, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1))
    try:
        kick.start()
        assert list(listener) == []
    finally:
        kick.join()
        signal.signal(signal.SIGUSR1, previous)


def test_connections_outlive_their_listener(listener, pool, keep):
    client, server = both_sides(listener, pool, keep)
    listener.close()
    exchange_objects(client, server)


# Files of Unix sockets


def test_the_file_goes_with_the_listener(tmp_path):
    path = tmp_path / "oob"
    with listen(path):
        assert path.is_socket()
        path.chmod(0o700)  # which must not make it somebody else's
    assert not path.exists()


def test_a_file_that_is_gone_already_is_no_error(tmp_path):
    path = tmp_path / "oob"
    with listen(path):
        path.unlink()


def test_the_file_is_found_from_another_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with listen("unix:oob") as listener:
        assert listener.address == "unix:oob"
        monkeypatch.chdir("/")
    assert not (tmp_path / "oob").exists()


def test_a_file_that_is_another_listeners_now_stays(tmp_path, pool, keep):
    path = tmp_path / "oob"
    first = keep(listen(path))
    path.rename(tmp_path / "aside")
    second = keep(listen(path))
    first.close()
    exchange_objects(*both_sides(second, pool, keep))


def test_a_forked_process_leaves_the_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "oob"
    listener = listen(path)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    listener.close()
    assert path.is_socket()


def abandoned(path):
    """Leave the file of a socket on which nobody listens any more."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()


def test_the_file_of_a_dead_listener_gives_way(tmp_path, pool, keep):
    path = tmp_path / "oob"
    abandoned(path)
    exchange_objects(*both_sides(keep(listen(path)), pool, keep))


def test_a_listener_that_lives_stays(tmp_path, pool, keep):
    path = tmp_path / "oob"
    first = keep(listen(path))
    with pytest.raises(OSError, match="Address already in use") as caught:
        listen(path)
    assert caught.value.__notes__ == [f"to listen on {path}"]
    # Which has noticed no more than a caller who hung up.
    with pytest.raises(OobError):
        first.accept(60)
    exchange_objects(*both_sides(first, pool, keep))


@pytest.mark.parametrize("make", [lambda path: path.write_text("precious"), lambda path: path.mkdir()])
def test_what_is_no_socket_is_never_removed(tmp_path, make):
    path = tmp_path / "precious"
    make(path)
    with pytest.raises(OSError, match="Address already in use"):
        listen(path)
    assert path.exists()


def test_a_link_to_a_dead_socket_is_no_socket(tmp_path):
    abandoned(tmp_path / "dead")
    path = tmp_path / "link"
    path.symlink_to(tmp_path / "dead")
    with pytest.raises(OSError, match="Address already in use"):
        listen(path)
    assert path.is_symlink()


def test_a_socket_for_datagrams_stays(tmp_path):
    path = tmp_path / "oob"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        with pytest.raises(OSError, match="Address already in use"):
            listen(path)
    assert path.is_socket()


def test_whoever_is_quicker_to_replace_a_dead_listener_stays(tmp_path, monkeypatch):
    path = tmp_path / "oob"
    abandoned(path)
    found = iter([(1, 1, 1), (1, 2, 2)])
    monkeypatch.setattr(listening, "_identity", lambda path: next(found))
    with pytest.raises(OSError, match="Address already in use"):
        listen(path)
    assert path.is_socket()


def test_a_directory_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        listen(tmp_path / "nowhere" / "oob")


# Who may listen where

FAR = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]
NEAR = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]


@pytest.fixture
def names(monkeypatch):
    """Make up what names stand for; numbers stay what they are."""
    real = socket.getaddrinfo
    made_up = {"far.example": FAR, "near.example": NEAR, "both.example": [*NEAR, *FAR], "moved.example": [*FAR, *NEAR]}

    def resolve(host, *arguments, **options):
        return made_up[host] if host in made_up else real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:0", "127.77.0.1:0", ("localhost", 0), ("127.1", 0), "near.example:0"],
)
def test_loopback_may_trust(names, address):
    with listen(address) as listener:
        assert addresses.is_loopback(addresses.parse(listener.address)[0])


@pytest.mark.parametrize("address", [("::1", 0), "[::ffff:127.0.0.1]:0"])
def test_loopback_of_version_6_may_trust(address):
    try:
        with listen(address):
            pass
    except OSError as error:
        # Then the rule has let it pass, and the machine has no such address.
        assert error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # noqa: PT017


def test_a_unix_socket_may_trust(tmp_path):
    with listen(tmp_path / "oob"):
        pass


EXPOSED = [
    ("", 0),
    ":0",
    "0.0.0.0:0",
    "[::]:0",
    "192.0.2.1:0",
    "[::ffff:192.0.2.1]:0",
    "far.example:0",
    "both.example:0",
]


@pytest.mark.parametrize("address", EXPOSED)
def test_no_other_address_may_trust(names, address):
    with pytest.raises(InsecureError, match=r"policy=oobcodec\.DATA, keyring=.*, ssl=.*loopback.*insecure=True"):
        listen(address)


@pytest.mark.parametrize("choice", ["policy", "keyring", "ssl", "insecure", "allowing"])
def test_each_choice_that_the_error_names_is_one(authority, choice):
    options = {
        "policy": {"policy": DATA},
        "allowing": {"policy": DATA.allowing("package:Class")},
        "keyring": {"keyring": KEYS},
        "ssl": {"ssl": contexts(authority)[1]},
        "insecure": {"insecure": True},
    }
    with listen("0.0.0.0:0", **options[choice]) as listener:
        assert listener.address.startswith("0.0.0.0:")


def test_the_next_address_of_a_name_is_taken_where_the_first_cannot_be_had(names):
    with listen("moved.example:0", policy=DATA) as listener:
        assert listener.address.startswith("127.0.0.1:")


def test_an_address_that_cannot_be_had_is_an_error(names, listener):
    with pytest.raises(OSError, match="Cannot assign requested address") as caught:
        listen("far.example:0", policy=DATA)
    assert caught.value.__notes__ == ["to listen on far.example:0"]
    with pytest.raises(OSError, match="Address already in use"):
        listen(listener.address)


def test_wrong_options_show_before_anything_is_bound(tmp_path):
    with pytest.raises(TypeError, match="no_such_option"):
        listen(tmp_path / "oob", no_such_option=1)
    assert not (tmp_path / "oob").exists()
    with pytest.raises(ValueError, match="is no address"):
        listen("localhost")


def test_no_file_descriptor_is_left_behind(pool):
    def serve():
        with listen(HERE) as listener, dialled(listener), pytest.raises(TimeoutError):
            listener.accept(0)
        with listen(HERE) as listener:
            client = pool.submit(connect, listener.address)
            with listener.accept(60) as server, client.result():
                assert isinstance(server, Connection)

    serve()
    before = sum(1 for _ in Path("/dev/fd").iterdir())
    for _ in range(10):
        serve()
    assert sum(1 for _ in Path("/dev/fd").iterdir()) == before
