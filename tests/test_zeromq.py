"""The recipes of the README for ZeroMQ, with sockets of pyzmq."""

import asyncio

import numpy as np
import pytest
from helpers import run_python

import oobcodec

zmq = pytest.importorskip("zmq", reason="pyzmq is not installed")
zmq_asyncio = pytest.importorskip("zmq.asyncio", reason="pyzmq is not installed")

MIB = 1 << 20
LONG = 60_000  # milliseconds: nothing here takes that long

OBJECT = {"large": np.arange(MIB), "small": np.arange(500.0), "empty": np.empty(0), "text": "x"}


@pytest.fixture
def context():
    with zmq.Context() as context:
        context.setsockopt(zmq.LINGER, 0)
        context.setsockopt(zmq.RCVTIMEO, LONG)
        yield context


def connected(context, kind, other):
    server, client = context.socket(kind), context.socket(other)
    client.connect(f"tcp://127.0.0.1:{server.bind_to_random_port('tcp://127.0.0.1')}")
    return server, client


def start(array):
    return array.__array_interface__["data"][0]


def test_frames_that_are_not_copied_are_loaded_where_they_lie(context):
    with context.socket(zmq.PAIR) as here, context.socket(zmq.PAIR) as there:
        here.bind("inproc://here")
        there.connect("inproc://here")
        here.send_multipart(oobcodec.dumps(OBJECT), copy=False)
        frames = there.recv_multipart(copy=False)
        assert all(isinstance(frame, zmq.Frame) for frame in frames)
        received = oobcodec.loads(frames)
        np.testing.assert_equal(received, OBJECT)
        # Within a process not even ZeroMQ copies.
        assert np.shares_memory(received["large"], OBJECT["large"])


@pytest.mark.parametrize("copy", [True, False])
def test_arrays_over_tcp(context, copy):
    server, client = connected(context, zmq.PULL, zmq.PUSH)
    with server, client:
        client.send_multipart(oobcodec.dumps(OBJECT), copy=copy)
        frames = server.recv_multipart(copy=copy)
        received = oobcodec.loads(frames)
        np.testing.assert_equal(received, OBJECT)
        if not copy:
            assert np.shares_memory(received["large"], np.frombuffer(frames[2], "u1"))
            received["large"] += 1  # what arrives in a frame is writable
        assert received["large"].flags.writeable is not copy
        del frames
        assert received["large"].sum() == OBJECT["large"].sum() + (0 if copy else MIB)


def test_align_moves_what_zeromq_has_placed_elsewhere(context):
    server, client = connected(context, zmq.PULL, zmq.PUSH)
    with server, client:
        client.send_multipart(oobcodec.dumps(OBJECT), copy=False)
        frames = server.recv_multipart(copy=False)
        addresses = {start(np.frombuffer(frame, "u1")) for frame in frames if len(frame)}
        assert any(address % 64 for address in addresses)
        received = oobcodec.loads(frames, align=True)
        for name in ("large", "small"):
            assert start(received[name]) % 64 == 0
            assert received[name].flags.writeable
        np.testing.assert_equal(received, OBJECT)


def test_a_router_puts_the_peer_in_front(context):
    router, dealer = connected(context, zmq.ROUTER, zmq.DEALER)
    with router, dealer:
        dealer.send_multipart(oobcodec.dumps(OBJECT), copy=False)
        peer, *frames = router.recv_multipart(copy=False)
        np.testing.assert_equal(oobcodec.loads(frames), OBJECT)
        router.send_multipart([peer, *oobcodec.dumps({"done": True})], copy=False)
        assert oobcodec.loads(dealer.recv_multipart(copy=False)) == {"done": True}


def test_a_router_and_a_requester_have_an_empty_frame_between(context):
    router, requester = connected(context, zmq.ROUTER, zmq.REQ)
    with router, requester:
        requester.send_multipart(oobcodec.dumps(OBJECT), copy=False)
        peer, empty, *frames = router.recv_multipart(copy=False)
        np.testing.assert_equal(oobcodec.loads(frames), OBJECT)
        router.send_multipart([peer, empty, *oobcodec.dumps([1])], copy=False)
        assert oobcodec.loads(requester.recv_multipart(copy=False)) == [1]


def test_a_router_forwards_messages_unopened(context):
    front, client = connected(context, zmq.ROUTER, zmq.DEALER)
    back, worker = connected(context, zmq.DEALER, zmq.ROUTER)
    with front, client, back, worker:
        client.send_multipart(oobcodec.dumps(OBJECT), copy=False)
        back.send_multipart(front.recv_multipart(copy=False), copy=False)
        route, peer, *frames = worker.recv_multipart(copy=False)
        worker.send_multipart([route, peer, *oobcodec.dumps(oobcodec.loads(frames)["large"])], copy=False)
        front.send_multipart(back.recv_multipart(copy=False), copy=False)
        np.testing.assert_array_equal(oobcodec.loads(client.recv_multipart(copy=False)), OBJECT["large"])


def test_a_topic_is_a_frame_in_front(context):
    publisher, subscriber = connected(context, zmq.XPUB, zmq.SUB)
    with publisher, subscriber:
        subscriber.subscribe(b"weights")
        assert publisher.recv() == b"\x01weights"  # the subscription has arrived: nothing is missed
        publisher.send_multipart([b"losses", *oobcodec.dumps([1])], copy=False)
        publisher.send_multipart([b"weights", *oobcodec.dumps(OBJECT)], copy=False)
        topic, *frames = subscriber.recv_multipart(copy=False)
        assert topic.bytes == b"weights"
        np.testing.assert_equal(oobcodec.loads(frames), OBJECT)


def test_memory_is_free_again_when_the_tracker_is_done(context):
    server, client = connected(context, zmq.PULL, zmq.PUSH)
    with server, client:
        array = np.zeros(4 * MIB)
        sums = []
        for value in range(3):
            array[:] = value
            tracker = client.send_multipart(oobcodec.dumps(array), copy=False, track=True)
            # 32 MiB are more than the sockets hold: somebody must receive before it is all gone.
            sums.append(oobcodec.loads(server.recv_multipart(copy=False)).sum())
            tracker.wait(LONG / 1000)
            assert tracker.done
        assert sums == [value * array.size for value in range(3)]


def test_without_waiting_the_memory_is_still_that_of_the_message(context):
    with context.socket(zmq.PAIR) as here, context.socket(zmq.PAIR) as there:
        here.bind("inproc://here")
        there.connect("inproc://here")
        array = np.zeros(MIB)
        tracker = here.send_multipart(oobcodec.dumps(array), copy=False, track=True)
        assert not tracker.done
        array += 1  # too early
        assert oobcodec.loads(there.recv_multipart(copy=False)).sum() == array.size
        here.send_multipart(oobcodec.dumps(array, copy=True), copy=False)
        array += 1
        assert oobcodec.loads(there.recv_multipart(copy=False)).sum() == array.size


def test_asyncio():
    async def exchange():
        with zmq_asyncio.Context() as context:
            server, client = connected(context, zmq.REP, zmq.REQ)
            with server, client:
                await client.send_multipart(oobcodec.dumps(OBJECT), copy=False)
                received = oobcodec.loads(await asyncio.wait_for(server.recv_multipart(copy=False), LONG / 1000))
                await server.send_multipart(oobcodec.dumps(received["large"]), copy=False)
                return oobcodec.loads(await asyncio.wait_for(client.recv_multipart(copy=False), LONG / 1000))

    np.testing.assert_array_equal(asyncio.run(exchange()), OBJECT["large"])


def test_between_processes(context):
    with context.socket(zmq.PULL) as server:
        port = server.bind_to_random_port("tcp://127.0.0.1")
        send = """
            import sys
            import numpy as np, oobcodec, zmq
            with zmq.Context() as context, context.socket(zmq.PUSH) as client:
                client.connect(f"tcp://127.0.0.1:{sys.argv[1]}")
                client.send_multipart(oobcodec.dumps({"x": np.arange(1000.0)}), copy=False)
        """
        run_python(send, port)
        received = oobcodec.loads(server.recv_multipart(copy=False), policy=oobcodec.DATA)
    np.testing.assert_array_equal(received["x"], np.arange(1000.0))


def test_a_message_without_its_last_part_is_refused(context):
    server, client = connected(context, zmq.PULL, zmq.PUSH)
    with server, client:
        client.send_multipart(oobcodec.dumps(OBJECT)[:-1], copy=False)
        with pytest.raises(oobcodec.TruncatedError, match="frames"):
            oobcodec.loads(server.recv_multipart(copy=False))
