import contextlib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from selectors import EVENT_READ, EVENT_WRITE

import pytest
import trustme

from oobcodec.errors import AuthenticationError, HeaderError, TruncatedError
from oobcodec.handshake import exchange, exchange_within, shorter
from oobcodec.hello import HELLO_SIZE, Hello

OURS = Hello(listening=False, signing=False, nonce=bytes(range(16)))
THEIRS = Hello(listening=True, signing=False, nonce=bytes(range(16, 32)))
SHORT = 0.05  # seconds: for timeouts that are meant to happen


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def pair(pool):
    ends = socket.socketpair()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def outcome(steps):
    """Return what steps that need no waiting return."""
    with pytest.raises(StopIteration) as stop:
        next(steps)
    return stop.value.value


def test_each_side_gets_the_hello_of_the_other(pair):
    for end in pair:
        end.settimeout(0)
    ours, theirs = exchange(pair[0], OURS), exchange(pair[1], THEIRS)
    assert next(ours) == EVENT_READ
    assert outcome(theirs) == OURS
    assert outcome(ours) == THEIRS


def test_hellos_arrive_byte_by_byte(pair):
    pair[0].settimeout(0)
    steps = exchange(pair[0], OURS)
    for byte in THEIRS.encode():
        assert next(steps) == EVENT_READ
        pair[1].sendall(bytes([byte]))
    assert outcome(steps) == THEIRS
    assert pair[1].recv(100) == OURS.encode()


def test_not_a_byte_behind_the_hello_is_read(pair):
    pair[1].sendall(THEIRS.encode() + b"behind")
    assert exchange_within(pair[0], OURS, 60) == THEIRS
    assert pair[0].recv(100) == b"behind"


def test_a_full_socket_is_waited_for(pair):
    near, far = pair
    near.settimeout(0)
    filled = 0
    # Byte by byte at the end: so that there is room for no part of a hello.
    for size in (1 << 16, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                filled += near.send(bytes(size))
    steps = exchange(near, OURS)
    assert next(steps) == EVENT_WRITE
    while filled:
        filled -= len(far.recv(min(filled, 1 << 16)))
    assert next(steps) == EVENT_READ
    assert far.recv(100) == OURS.encode()


@pytest.mark.parametrize("size", [0, 1, HELLO_SIZE - 1])
def test_an_end_of_what_the_peer_says_is_told_with_the_count(pair, size):
    pair[1].sendall(THEIRS.encode()[:size])
    pair[1].shutdown(socket.SHUT_WR)
    with pytest.raises(TruncatedError, match=f"the peer closed the connection after {size} of 32 bytes of its hello"):
        exchange_within(pair[0], OURS, 60)


def test_one_wrong_byte_is_enough(pair):
    pair[1].sendall(b"G")
    with pytest.raises(HeaderError, match="not an oobcodec connection: it starts with b'G'"):
        exchange_within(pair[0], OURS, None)


def test_a_peer_that_does_not_fit_has_heard_us_all_the_same(pair):
    pair[1].sendall(Hello(listening=True, signing=True, nonce=bytes(16)).encode())
    with pytest.raises(AuthenticationError, match="both sides need keyring="):
        exchange_within(pair[0], OURS, None)
    assert pair[1].recv(100) == OURS.encode()


@pytest.mark.parametrize("size", [0, 31])
def test_a_silent_peer_is_a_timeout(pair, size):
    pair[1].sendall(THEIRS.encode()[:size])
    with pytest.raises(TimeoutError, match=r"no hello within 0.05 s: .* \(hello_timeout=\)"):
        exchange_within(pair[0], OURS, SHORT)


def test_the_time_is_for_the_whole_hello_however_often_a_byte_of_it_comes(pair):
    # All but the last byte is there, so that there is no wait at all, and still the time is over.
    pair[1].sendall(THEIRS.encode()[:31])
    with pytest.raises(TimeoutError):
        exchange_within(pair[0], OURS, 0)


def over_tls(pair, authority, *, trusted=True):
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("peer.example").configure_cert(serving)
    trusting = ssl.create_default_context()
    if trusted:
        authority.configure_trust(trusting)
    return (
        trusting.wrap_socket(pair[0], server_hostname="peer.example", do_handshake_on_connect=False),
        serving.wrap_socket(pair[1], server_side=True, do_handshake_on_connect=False),
    )


def test_tls_shakes_hands_first(pair, pool):
    client, server = over_tls(pair, trustme.CA())
    with client, server:
        heard = pool.submit(exchange_within, server, THEIRS, 60)
        assert exchange_within(client, OURS, 60) == THEIRS
        assert heard.result() == OURS
        assert client.version() == server.version() == "TLSv1.3"


def test_a_certificate_that_is_not_trusted_is_an_error_on_both_sides(pair, pool):
    client, server = over_tls(pair, trustme.CA(), trusted=False)
    with client, server:
        heard = pool.submit(exchange_within, server, THEIRS, 60)
        with pytest.raises(ssl.SSLCertVerificationError):
            exchange_within(client, OURS, 60)
        client.close()
        with pytest.raises(ssl.SSLError):
            heard.result()


def test_a_silent_tls_peer_is_a_timeout(pair):
    client, server = over_tls(pair, trustme.CA())
    with client, server, pytest.raises(TimeoutError):
        exchange_within(client, OURS, SHORT)


def test_of_two_timeouts_the_shorter_counts_and_none_is_for_ever():
    assert shorter(3, 2.5) == 2.5
    assert shorter(None, 3) == shorter(3, None) == 3
    assert shorter(None, None) is None
