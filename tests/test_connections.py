import contextlib
import os
import secrets
import socket
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import trustme

import oobcodec
from oobcodec.auth import Keyring
from oobcodec.buffers import address
from oobcodec.codec import dumps
from oobcodec.connecting import connect
from oobcodec.connections import Connection
from oobcodec.errors import (
    AuthenticationError,
    DecodeError,
    EncodeError,
    HeaderError,
    IntegrityError,
    LimitError,
    OobError,
    PoisonedError,
    PolicyError,
    TruncatedError,
)
from oobcodec.hello import HELLO_SIZE, Hello
from oobcodec.limits import Limits
from oobcodec.packed import pack
from oobcodec.policy import DATA
from oobcodec.transfer import recv, recv_frames

MIB = 1 << 20
LARGE = 16 * MIB  # no socket here holds that much without a reader
SHORT = 0.05  # seconds: for timeouts that are meant to happen
KEYS = Keyring({"first": bytes(range(32))}, sign_with="first")


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as pool:
        yield pool


def hang_up(thing):
    if isinstance(thing, socket.socket):
        with contextlib.suppress(OSError):
            thing.shutdown(socket.SHUT_RDWR)
    thing.close()


@pytest.fixture
def keep(pool):
    """Close what it is given, and before that end what a thread still does with it."""
    with contextlib.ExitStack() as stack:

        def kept(thing):
            stack.callback(hang_up, thing)
            return thing

        yield kept


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


def over(kind, request):
    """Return the two ends of a connection, the client's first."""
    if kind == "tcp":
        with socket.create_server(("127.0.0.1", 0)) as server:
            return socket.create_connection(server.getsockname()), server.accept()[0]
    client, server = socket.socketpair()
    if kind == "tls":
        trusting, serving = contexts(request.getfixturevalue("authority"))
        later = {"do_handshake_on_connect": False}
        client = trusting.wrap_socket(client, server_hostname="peer.example", **later)
        server = serving.wrap_socket(server, server_side=True, **later)
    return client, server


def opened(ends, pool, client=None, server=None, **both):
    """Return both sides of a connection."""
    near = pool.submit(Connection, ends[0], role="client", **both, **(client or {}))
    far = Connection(ends[1], role="server", **both, **(server or {}))
    return near.result(), far


@pytest.fixture(params=["unix", "tcp", "tls"])
def ends(request, keep):
    return tuple(map(keep, over(request.param, request)))


@pytest.fixture(params=[{}, {"keyring": KEYS}, {"checksum": True}], ids=["plain", "keyring", "checksum"])
def pair(request, ends, pool, keep):
    return tuple(map(keep, opened(ends, pool, **request.param)))


@pytest.fixture
def plain(pool, keep):
    return tuple(map(keep, opened(socket.socketpair(), pool)))


# Messages


def test_objects_arrive_as_they_left_both_ways(pair, pool):
    client, server = pair
    values = np.random.default_rng(0).random(200_000)
    for number in range(20):
        for here, there in (pair, pair[::-1]):
            obj = {"number": number, "values": values[: 10**5 * (number % 3)], "small": np.arange(number)}
            sent = pool.submit(here.send, obj)
            got = there.recv()
            assert sent.result() > obj["values"].nbytes
            assert got["number"] == number
            np.testing.assert_array_equal(got["values"], obj["values"])
            np.testing.assert_array_equal(got["small"], obj["small"])
            assert got["values"].flags.writeable
    client.close()
    with pytest.raises(EOFError):
        server.recv()


def test_both_sides_send_and_receive_at_a_time(pair, pool):
    def talk(connection):
        for number in range(300):
            connection.send([number, bytes(number * 100)])

    def listen(connection):
        return [connection.recv()[0] for _ in range(300)]

    talking = [pool.submit(talk, side) for side in pair]
    for heard in [pool.submit(listen, side) for side in pair]:
        assert heard.result() == list(range(300))
    for done in talking:
        done.result()


def test_frames_are_forwarded_without_decoding(pair):
    client, server = pair
    frames = dumps({"x": np.arange(1000.0)})
    assert client.send_frames(frames) >= pack(frames).nbytes
    got = server.recv_frames()
    assert got[1:] == frames[1:]
    server.send_frames(got if got[0] == frames[0] else frames)
    np.testing.assert_array_equal(client.recv()["x"], np.arange(1000.0))


def test_messages_may_be_waiting_behind_the_hello(ends, pool, keep):
    # Both in one read: the first message must not be taken for part of the hello.
    near = pool.submit(Connection, ends[0], role="client", keyring=KEYS)
    server = keep(Connection(ends[1], role="server", keyring=KEYS))
    server.send("first")
    client = keep(near.result())
    assert client.recv() == "first"


SERVER = f"""
import sys
sys.path[:] = {sys.path!r}
import oobcodec
from oobcodec import sockets
keyring = oobcodec.Keyring({{"first": bytes(range(32))}}, sign_with="first")
with sockets.listen("127.0.0.1:0", keyring=keyring, policy=oobcodec.DATA) as listener:
    print(listener.address, flush=True)
    with listener.accept(60) as connection:
        try:
            while True:
                connection.send(connection.recv())
        except EOFError:
            print(connection, flush=True)
"""


def test_another_process_answers_signed_messages():
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        with connect(address, keyring=KEYS, timeout=60) as connection:
            for number in range(40):
                values = np.arange(number * 1000)
                connection.send({"values": values, "number": number})
                got = connection.recv()
                assert got["number"] == number
                np.testing.assert_array_equal(got["values"], values)
        assert "40 sent, 40 received" in process.stdout.readline()
    assert process.returncode == 0


# Many, and into what is there


def test_many_objects_arrive_in_order_both_ways(pair, pool):
    for here, there in (pair, pair[::-1]):
        objects = [(number, np.full(number * 37 % 20_000, number)) for number in range(300)]
        sending = pool.submit(here.send_many, iter(objects))
        for number, values in objects:
            got = there.recv()
            assert got[0] == number
            np.testing.assert_array_equal(got[1], values)
        assert sending.result() > sum(values.nbytes for _, values in objects)
        assert here.stats.sent.messages >= 300


def test_objects_are_received_into_others(pair, pool):
    client, server = pair
    for size in (10, 10, 1000, 300_000):
        into, obj = {"values": np.zeros(size), "n": 1}, {"values": np.arange(float(size)), "n": 1}
        sending = pool.submit(client.send, obj)
        assert server.recv(into=into) is into
        sending.result()
        np.testing.assert_array_equal(into["values"], obj["values"])
        client.send({"n": 1})
        client.send("next")
        with pytest.raises(
            DecodeError, match=r"message \d+: what arrives does not fit into=: \['values'\] on one side"
        ):
            server.recv(into=into)
        np.testing.assert_array_equal(into["values"], obj["values"])
        assert server.recv() == "next"


def test_a_buffer_that_is_too_small_leaves_the_connection_usable(pair, pool):
    client, server = pair
    sending = pool.submit(client.send, np.arange(100_000))
    with pytest.raises(LimitError, match=r"message 1: into= is .* bytes too small"):
        server.recv(into=bytearray(1000))
    sending.result()
    client.send(np.arange(1000))
    memory = bytearray(10_000)
    assert np.shares_memory(server.recv(into=memory), np.frombuffer(memory, "u1"))
    with pytest.raises(ValueError, match="is read-only"):
        server.recv(into=memoryview(b"read-only"))
    client.send("next")
    assert server.recv() == "next"


def test_damage_changes_nothing_that_is_received_into(middle):
    (message,) = middle.sent(np.arange(1000))
    middle.far.sendall(message[:-1] + b"\xff")
    into = np.zeros(1000, int)
    with pytest.raises(IntegrityError, match="frame 2 is not what was sent"):
        middle.server.recv(into=into)
    assert not into.any()


@pytest.mark.parametrize("size", [10, 100_000, 2 * MIB])
def test_progress_ends_with_all_of_the_message(pair, pool, size):
    client, server = pair
    for _ in range(2):
        told_there, told_here = [], []
        sending = pool.submit(client.send, [bytes(size)], progress=lambda *numbers, to=told_there: to.append(numbers))
        assert server.recv(progress=lambda *numbers, to=told_here: to.append(numbers)) == [bytes(size)]
        total = sending.result()
        for told in (told_there, told_here):
            assert told == sorted(told)
            assert told[-1] == (total, total)
            assert {of for _, of in told} == {total}


def test_frames_are_frames_also_of_messages_that_are_known(pair):
    client, server = pair
    for _ in range(3):
        client.send({"a": 1})
        first, stream = server.recv_frames()
        assert isinstance(first, memoryview)
        assert isinstance(stream, memoryview)
        assert not stream.readonly
        assert address(stream) % 64 == 0
        assert stream == dumps({"a": 1})[1]


def test_poll_knows_what_was_read_ahead(pair):
    client, server = pair
    server.send("so that no ticket of TLS is on its way")
    client.recv()
    assert not server.poll()
    assert not server.poll(SHORT)
    client.send_many([1, 2, 3])
    assert server.poll(60)
    assert server.recv() == 1
    for number in (2, 3):
        assert server.poll()
        assert server.poll(None)
        assert server.recv() == number
    assert not server.poll()
    client.close()
    assert server.poll(60)
    with pytest.raises(EOFError):
        server.recv()
    assert server.poll()


def test_both_sides_count_the_same(pair, pool):
    client, server = pair
    objects = [{"a": 1}, {"b": 2}, np.arange(1000), "text", b"bytes", [bytes(5_000_000)], np.arange(3000)[::3]]
    for obj in objects:
        sending = pool.submit(client.send, obj)
        server.recv()
        sending.result()
    sending = pool.submit(client.send_many, objects)
    for _ in objects:
        server.recv()
    sending.result()
    client.send_frames(dumps({"a": 1}))
    server.recv()
    sent, received = client.stats.sent, server.stats.received
    assert sent.messages == received.messages == 15
    assert sent.out_of_band_bytes == received.out_of_band_bytes == 2 * (8000 + 4 + 5 + 5_000_000 + 8000)
    assert sent.in_band_bytes == received.in_band_bytes > 0
    assert sent.copied_bytes == 2 * 8000
    assert received.copied_bytes > 0
    for traffic in (sent, received):
        assert traffic.coding_seconds > 0
        assert traffic.wire_seconds > 0
    assert client.stats.received.messages == server.stats.sent.messages == 0
    assert client.stats.fallbacks == {}


# The hello


class StrangeError(Exception):
    pass


def hello(*, listening=False, signing=False):
    return Hello(listening=listening, signing=signing, nonce=bytes(16)).encode()


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (pack(dumps([1, 2, 3])), HeaderError, "It sends bare messages, as oobcodec.sockets.send does"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", HeaderError, "It sends HTTP"),
        (b"\x16\x03\x01\x02\x00\x01", HeaderError, "It sends TLS: give ssl="),
        (bytes(100), HeaderError, "not an oobcodec connection"),
        (b"", TruncatedError, "closed the connection after 0 of 32 bytes of its hello"),
        (hello()[:31], TruncatedError, "closed the connection after 31 of 32 bytes of its hello"),
        (hello()[:8] + b"\2" + hello()[9:], HeaderError, "message format version 2, this oobcodec version 1"),
        (hello(listening=True), HeaderError, "both sides are the server"),
        (hello(signing=True), AuthenticationError, "the peer signs its messages and this side does not"),
    ],
)
def test_a_peer_that_is_no_connection_is_refused(keep, data, error, words):
    here, there = map(keep, socket.socketpair())
    there.sendall(data)
    there.shutdown(socket.SHUT_WR)
    with pytest.raises(error, match=words) as caught:
        Connection(here, role="server")
    assert str(caught.value).startswith("from an unnamed socket: ")
    assert here.fileno() == -1
    # The peer has got a whole hello, from which it can tell as much.
    with contextlib.suppress(ConnectionResetError):
        assert len(there.recv(100)) == HELLO_SIZE


def test_a_bare_receiver_of_a_connection_is_told_too(keep, pool):
    here, there = map(keep, socket.socketpair())
    connection = pool.submit(Connection, here, role="client")
    with pytest.raises(HeaderError, match="not an oobcodec message"):
        recv(there)
    there.close()
    with pytest.raises((TruncatedError, OSError)):
        connection.result()


@pytest.mark.parametrize(("timeout", "hello_timeout"), [(SHORT, 60), (None, SHORT), (60, SHORT)])
def test_a_silent_peer_is_a_timeout(keep, timeout, hello_timeout):
    here, _there = map(keep, socket.socketpair())
    here.settimeout(timeout)
    with pytest.raises(TimeoutError, match=r"no hello within 0\.05 s") as caught:
        Connection(here, role="client", hello_timeout=hello_timeout)
    assert caught.value.__notes__ == ["from an unnamed socket"]
    assert here.fileno() == -1


@pytest.mark.parametrize("which", ["client", "server"])
def test_a_keyring_on_one_side_is_refused_on_both(pool, keep, which):
    ends = [keep(end) for end in socket.socketpair()]
    sides = [
        pool.submit(Connection, end, role=role, keyring=KEYS if role == which else None)
        for end, role in zip(ends, ("client", "server"), strict=True)
    ]
    for side in sides:
        with pytest.raises(AuthenticationError, match="both sides need keyring= with a key in common"):
            side.result()


def test_two_clients_are_no_pair(pool, keep):
    ends = [keep(end) for end in socket.socketpair()]
    for side in [pool.submit(Connection, end, role="client") for end in ends]:
        with pytest.raises(HeaderError, match="both sides are the client"):
            side.result()


def test_our_own_hello_is_no_answer(pool, keep):
    here, there = map(keep, socket.socketpair())
    opening = pool.submit(Connection, here, role="client", keyring=KEYS)
    there.sendall(there.recv(HELLO_SIZE))
    with pytest.raises(HeaderError, match="or the peer sends back what it gets"):
        opening.result()


def test_our_own_nonce_in_the_other_role_is_no_answer(pool, keep):
    here, there = map(keep, socket.socketpair())
    opening = pool.submit(Connection, here, role="client", keyring=KEYS)
    theirs = bytearray(there.recv(HELLO_SIZE))
    theirs[9] ^= 1
    there.sendall(theirs)
    with pytest.raises(AuthenticationError, match="the peer sends back our own nonce"):
        opening.result()


@pytest.mark.parametrize("role", ["Client", None, "peer"])
def test_there_are_two_roles(keep, role):
    here, _there = map(keep, socket.socketpair())
    with pytest.raises(ValueError, match="is neither 'client' nor 'server'"):
        Connection(here, role=role)


def test_options_that_are_wrong_show_before_anything_is_sent(keep):
    here, there = map(keep, socket.socketpair())
    with pytest.raises(TypeError, match="no_such_option"):
        Connection(here, role="client", no_such_option=1)
    here.settimeout(0)
    with pytest.raises(ValueError, match="the socket is non-blocking"):
        Connection(here, role="client")
    there.settimeout(0)
    with pytest.raises(BlockingIOError):
        there.recv(1)


# Somebody in the middle


class Middle:
    """A connection whose client and server talk through somebody else, who has seen their hellos."""

    def __init__(self, pool, keep, *, flip=0, **options):
        client, self.near = map(keep, socket.socketpair())
        self.far, server = map(keep, socket.socketpair())
        opening = [
            pool.submit(Connection, client, role="client", **options),
            pool.submit(Connection, server, role="server", **options),
        ]
        self.hellos = (self.near.recv(HELLO_SIZE), self.far.recv(HELLO_SIZE))
        self.far.sendall(self.hellos[0])
        self.near.sendall(self.hellos[1])
        self.client, self.server = (keep(side.result()) for side in opening)

    def sent(self, *objects):
        """Return what travels for objects that the client sends."""
        messages = []
        for obj in objects:
            self.client.send(obj)
            messages.append(bytes(pack(recv_frames(self.near))))
        return messages

    def refused(self, side, *errors, match=None):
        with pytest.raises(errors, match=match) as caught:
            side.recv()
        for use in (side.recv, side.recv_frames, lambda: side.send(1)):
            with pytest.raises(PoisonedError, match=f"then {caught.typename}; close it|{caught.typename}; close it"):
                use()
        return caught.value


@pytest.fixture
def middle(pool, keep):
    return Middle(pool, keep, keyring=KEYS)


def test_messages_in_their_order_are_accepted(middle):
    for message in middle.sent(*range(40)):
        middle.far.sendall(message)
    assert [middle.server.recv() for _ in range(40)] == list(range(40))


def test_a_repeated_message_is_refused(middle):
    (message,) = middle.sent("once")
    middle.far.sendall(message * 2)
    assert middle.server.recv() == "once"
    error = middle.refused(middle.server, AuthenticationError, match="repeated, reordered, or one is missing")
    assert str(error).startswith("from an unnamed socket, message 2: ")
    # And the peer of the refusing side sees an end.
    with pytest.raises(BrokenPipeError):
        middle.far.sendall(message)


def test_reordered_messages_are_refused(middle):
    first, second = middle.sent("first", "second")
    middle.far.sendall(second + first)
    middle.refused(middle.server, AuthenticationError, match="repeated, reordered, or one is missing")


def test_a_dropped_message_is_refused(middle):
    first, _, third = middle.sent("first", "second", "third")
    middle.far.sendall(first + third)
    assert middle.server.recv() == "first"
    middle.refused(middle.server, AuthenticationError, match="one is missing")


def test_a_reflected_message_is_refused(middle):
    (message,) = middle.sent("mine")
    middle.near.sendall(message)
    middle.refused(middle.client, AuthenticationError, match="or for the other direction of this one")


def test_a_message_of_another_connection_is_refused(middle, pool, keep):
    (message,) = Middle(pool, keep, keyring=KEYS).sent("elsewhere")
    middle.far.sendall(message)
    middle.refused(middle.server, AuthenticationError, match="signed for another connection")


def test_a_message_of_no_connection_is_refused(middle):
    middle.far.sendall(pack(dumps("nowhere", keyring=KEYS)))
    middle.refused(middle.server, AuthenticationError, match="signed for another connection")


def test_a_whole_recorded_client_is_refused(middle, pool, keep):
    recorded = middle.hellos[0] + b"".join(middle.sent("pay", "pay more"))
    here, there = map(keep, socket.socketpair())
    there.sendall(recorded)
    with Connection(here, role="server", keyring=KEYS) as server:
        Middle.refused(middle, server, AuthenticationError, match="signed for another connection")


def test_two_clients_that_are_joined_do_not_believe_each_other(pool, keep):
    ends, middles = zip(*(map(keep, socket.socketpair()) for _ in range(2)), strict=True)
    opening = [pool.submit(Connection, end, role="client", keyring=KEYS) for end in ends]
    hellos = [bytearray(there.recv(HELLO_SIZE)) for there in middles]
    for there, theirs in zip(middles, reversed(hellos), strict=True):
        theirs[9] ^= 1  # "I am the server"
        there.sendall(theirs)
    one, other = (keep(side.result()) for side in opening)
    one.send("for the server")
    middles[1].sendall(pack(recv_frames(middles[0])))
    with pytest.raises(AuthenticationError, match="signed for another connection"):
        other.recv()


def test_an_unsigned_message_is_refused(middle):
    middle.far.sendall(pack(dumps("unsigned")))
    middle.refused(middle.server, AuthenticationError, match="unsigned")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (Keyring({"first": bytes(32)}, sign_with="first"), "forged, damaged, or another key"),
        (Keyring({"second": bytes(range(32))}, sign_with="second"), "signed with the key 'second', which is not in"),
    ],
)
def test_a_peer_with_other_keys_is_refused(pool, keep, keys, words):
    client, server = map(keep, opened(socket.socketpair(), pool, {"keyring": keys}, {"keyring": KEYS}))
    client.send(1)
    with pytest.raises(AuthenticationError, match=words):
        server.recv()
    # Which has told the other side that nothing more will come.
    with pytest.raises((EOFError, PoisonedError, OSError)):
        client.recv()


def test_keys_may_be_changed_under_way(pool, keep):
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    client, server = map(
        keep,
        opened(
            socket.socketpair(),
            pool,
            {"keyring": Keyring({"old": old, "new": new}, sign_with="new")},
            {"keyring": Keyring({"old": old, "new": new}, sign_with="old")},
        ),
    )
    client.send("new")
    assert server.recv() == "new"
    server.send("old")
    assert client.recv() == "old"


REFUSALS = (AuthenticationError, HeaderError, IntegrityError, LimitError, TruncatedError)


@contextlib.contextmanager
def another_middle(pool):
    with contextlib.ExitStack() as stack:
        yield Middle(pool, stack.enter_context, keyring=KEYS)


def test_a_flip_of_any_bit_is_refused(pool):
    position = length = 0
    while position <= length:
        with another_middle(pool) as middle:
            (message,) = middle.sent({"a": 1, "x": np.arange(20)})
            length = 8 * len(message) - 1
            damaged = bytearray(message)
            damaged[position // 8] ^= 1 << position % 8
            middle.far.sendall(damaged)
            middle.far.shutdown(socket.SHUT_WR)  # the message may claim to be longer now
            middle.refused(middle.server, *REFUSALS)
        position += 1
    assert position > 2000


def test_a_flip_in_a_large_frame_is_refused(middle, pool):
    values = np.zeros(MIB, "u1")
    sending = pool.submit(middle.client.send, values)
    message = bytearray(pack(recv_frames(middle.near)))
    sending.result()
    message[-1] ^= 1
    forwarding = pool.submit(middle.far.sendall, message)
    middle.refused(middle.server, IntegrityError, match="frame 2 is not what was sent")
    forwarding.result()


def test_frames_are_checked_where_they_are_not_decoded(middle):
    (message,) = middle.sent(np.arange(1000))
    middle.far.sendall(message[:-1] + b"\xff")
    with pytest.raises(IntegrityError, match="frame 2 is not what was sent"):
        middle.server.recv_frames()
    with pytest.raises(PoisonedError):
        middle.server.recv()


def test_a_message_that_is_cut_anywhere_is_refused(pool):
    part = length = 1
    while part <= length:
        with another_middle(pool) as middle:
            (message,) = middle.sent({"a": 1, "x": np.arange(20)})
            length = len(message) - 1
            middle.far.sendall(message[:part])
            middle.far.shutdown(socket.SHUT_WR)
            middle.refused(middle.server, TruncatedError, match="the stream ended inside a message")
        part += 1
    assert part > 300


def test_what_is_between_two_messages_is_refused(middle):
    first, second = middle.sent("first", "second")
    middle.far.sendall(first + bytes(64) + second)
    assert middle.server.recv() == "first"
    middle.refused(middle.server, HeaderError, match="not an oobcodec message")


def test_an_altered_nonce_in_a_hello_is_noticed(pool, keep):
    client, near = map(keep, socket.socketpair())
    far, server = map(keep, socket.socketpair())
    opening = [
        pool.submit(Connection, client, role="client", keyring=KEYS),
        pool.submit(Connection, server, role="server", keyring=KEYS),
    ]
    altered = bytearray(near.recv(HELLO_SIZE))
    altered[-1] ^= 1
    far.sendall(altered)
    near.sendall(far.recv(HELLO_SIZE))
    one, other = (keep(side.result()) for side in opening)
    one.send("first")
    far.sendall(pack(recv_frames(near)))
    with pytest.raises(AuthenticationError, match="signed for another connection"):
        other.recv()


def test_a_forged_header_sets_no_memory_aside(middle):
    message = bytearray(pack(dumps(np.zeros(1000), keyring=KEYS)))
    message[16:24] = (1 << 60).to_bytes(8, "little")
    middle.far.sendall(message)
    with pytest.raises(AuthenticationError, match="forged, damaged, or another key"):
        middle.server.recv()


def test_an_accident_is_found_by_checksums(pool, keep):
    middle = Middle(pool, keep, checksum=True)
    (message,) = middle.sent(np.arange(1000))
    middle.far.sendall(message[:-1] + b"\xff")
    middle.refused(middle.server, IntegrityError, match="message 1: frame 2 is not what was sent")


# What is accepted


def test_a_policy_refuses_and_the_next_message_is_received(pool, keep):
    client, server = map(keep, opened(socket.socketpair(), pool, server={"policy": DATA}))
    client.send(StrangeError("code"))
    client.send({"data": np.arange(3)})
    client.send(StrangeError("code"))
    with pytest.raises(PolicyError, match=r"^from an unnamed socket, message 1: refused global .*StrangeError"):
        server.recv()
    np.testing.assert_array_equal(server.recv()["data"], np.arange(3))
    with pytest.raises(PolicyError, match=r"^from an unnamed socket, message 3: "):
        server.recv()


def test_limits_hold_while_a_message_arrives(pool, keep):
    limits = Limits(max_total_bytes=1000)
    client, server = map(keep, opened(socket.socketpair(), pool, server={"limits": limits}))
    client.send("short")
    assert server.recv() == "short"
    client.send(bytes(1000))
    with pytest.raises(LimitError, match=r"^from an unnamed socket, message 2: .*limit max_total_bytes=1,000 bytes"):
        server.recv()
    with pytest.raises(PoisonedError):
        server.recv()


def test_a_policy_has_limits_of_its_own_while_a_message_arrives(pool, keep):
    client, server = socket.socketpair()
    there = keep(client)
    opening = pool.submit(Connection, server, role="server", policy=DATA)
    there.recv(HELLO_SIZE)
    there.sendall(hello())
    claim = bytearray(pack(dumps(1)))
    claim[16:24] = (5 << 30).to_bytes(8, "little")
    there.sendall(claim)
    with keep(opening.result()) as connection, pytest.raises(LimitError, match="limit max_total_bytes=4 GiB"):
        connection.recv()


def test_other_options_reach_the_codec(pool, keep):
    client, server = map(keep, opened(socket.socketpair(), pool, {"copy": True}, {"writable": False}))
    client.send(np.arange(1000))
    assert not server.recv().flags.writeable


def test_a_keyring_that_only_verifies_sends_nothing(pool, keep):
    reader = Keyring({"first": bytes(range(32))})
    client, server = map(keep, opened(socket.socketpair(), pool, {"keyring": KEYS}, {"keyring": reader}))
    client.send("signed")
    assert server.recv() == "signed"
    with pytest.raises(EncodeError, match="only verifies"):
        server.send("unsigned")
    client.send("more")
    assert server.recv() == "more"


# Errors


def test_what_cannot_be_encoded_leaves_the_connection_usable(pair):
    client, server = pair
    with pytest.raises(EncodeError):
        client.send(number for number in range(3))
    with pytest.raises(HeaderError):
        client.send_frames([memoryview(b"no message")])
    client.send("fine")
    assert server.recv() == "fine"


class Unbuildable:
    def __setstate__(self, state):
        message = "no"
        raise ZeroDivisionError(message)


def test_an_error_of_the_objects_own_passes_with_a_note(plain):
    client, server = plain
    thing = Unbuildable()
    thing.state = 1
    client.send("first")
    client.send(thing)
    client.send("third")
    assert server.recv() == "first"
    with pytest.raises(ZeroDivisionError, match="no") as caught:
        server.recv()
    assert "from an unnamed socket, message 2" in caught.value.__notes__
    assert server.recv() == "third"


def test_errors_name_the_address_of_the_peer(request, pool, keep):
    ends = over("tcp", request)
    address = "{}:{}".format(*ends[0].getsockname())
    client, server = map(keep, opened(ends, pool))
    assert server.peer == address
    client.send_frames(dumps(1))
    ends[0].sendall(b"no message at all, and long enough")
    assert server.recv() == 1
    with pytest.raises(HeaderError, match=f"^from {address}, message 2: not an oobcodec message"):
        server.recv()
    server.close()
    with pytest.raises(ConnectionError) as caught:
        client.send(bytes(LARGE))
    assert any(note.startswith(f"to {client.peer}, message ") for note in caught.value.__notes__)


def test_a_timeout_between_messages_leaves_the_connection_usable(pair):
    client, server = pair
    server.timeout = SHORT
    assert server.timeout == SHORT
    with pytest.raises(TimeoutError) as caught:
        server.recv()
    assert caught.value.__notes__[-1].endswith(", message 1")
    client.send("late")
    server.timeout = None
    assert server.recv() == "late"


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_there_is_no_connection_without_patience(plain, seconds):
    with pytest.raises(ValueError, match=r"leaves no time; None is for ever"):
        plain[0].timeout = seconds


def test_a_timeout_inside_a_message_poisons_the_direction(ends, pool, keep):
    client, server = map(keep, opened(ends, pool, keyring=KEYS))
    client.timeout = SHORT
    with pytest.raises(TimeoutError):
        client.send(np.zeros(LARGE, "u1"))
    with pytest.raises(PoisonedError, match="message 1: this socket stopped inside a message"):
        client.send(1)
    with pytest.raises(OobError):
        server.recv()


def test_a_signed_message_that_was_not_sent_poisons(pool, keep):
    client, server = map(keep, opened(socket.socketpair(), pool, keyring=KEYS))
    client.timeout = SHORT
    sent = 0
    with contextlib.suppress(TimeoutError):
        # Until there is room for none, perhaps not for the first byte of it.
        while True:
            client.send(sent)
            sent += 1
    with pytest.raises(PoisonedError):
        client.send(sent)
    received = []
    with contextlib.suppress(EOFError, TruncatedError):
        while True:
            received.append(server.recv())
    assert received == list(range(sent))


def test_one_thread_at_a_time_may_send_and_one_receive(plain):
    client, server = plain
    client._outbox._busy = True
    with pytest.raises(RuntimeError, match="another thread is sending to an unnamed socket: one at a time"):
        client.send(1)
    server.send("the other way")
    assert client.recv() == "the other way"
    client._outbox._busy, client._inbox._busy = False, True
    for receive in (client.recv, client.recv_frames):
        with pytest.raises(RuntimeError, match="another thread is receiving from an unnamed socket: one at a"):
            receive()
    client.send("the other way")
    assert server.recv() == "the other way"


# The end


def test_closing_twice_does_no_harm(pair):
    client, server = pair
    with client as entered:
        assert entered is client
        assert client.fileno() >= 0
        assert not client.closed
    assert client.closed
    assert client.fileno() == -1
    client.close()
    with pytest.raises(EOFError) as caught:
        server.recv()
    assert caught.value.__notes__[-1].endswith(", message 1")
    with pytest.raises(OSError, match="Bad file descriptor"):
        client.send(1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        client.recv()


def test_what_was_sent_before_the_end_arrives(pair, pool):
    client, server = pair
    received = pool.submit(lambda: [server.recv(), server.recv()])
    client.send("last")
    client.send(bytes(LARGE))
    client.close()
    assert received.result() == ["last", bytes(LARGE)]


def test_closing_ends_the_wait_of_another_thread(pair, pool):
    client, _ = pair
    started = threading.Event()

    def wait():
        started.set()
        return client.recv()

    waiting = pool.submit(wait)
    started.wait()
    client.close()
    # Which of them depends on how far it had got.
    with pytest.raises((EOFError, OSError)):
        waiting.result()


def test_a_connection_shows_what_it_is(plain):
    client, server = plain
    client.send(1)
    server.recv()
    assert repr(client) == "<Connection, client of an unnamed socket: 1 sent, 0 received>"
    assert repr(server) == "<Connection, server of an unnamed socket: 0 sent, 1 received>"
    server.close()
    assert repr(server) == "<Connection, closed an unnamed socket: 0 sent, 1 received>"


def test_sockets_of_other_families_have_no_options_that_we_know(pool, keep):
    # As whoever made the socket calls it.
    ends = [socket.socket(socket.AF_UNSPEC, socket.SOCK_STREAM, fileno=end.detach()) for end in socket.socketpair()]
    client, server = map(keep, opened(ends, pool))
    client.send("hello")
    assert server.recv() == "hello"


def test_small_messages_are_not_held_back(request, pool, keep):
    client, server = over("tcp", request)
    assert not client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    for side in map(keep, opened((client, server), pool)):
        with socket.socket(fileno=os.dup(side.fileno())) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_facade_knows_connections():
    assert oobcodec.sockets.Connection is Connection
    assert oobcodec.sockets.connect is connect
