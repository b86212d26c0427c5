import gc
import multiprocessing
import os
import threading
import time
import warnings
from multiprocessing.connection import wait

import numpy as np
import pytest
from processes import CONTEXTS, LONG, MIB, finished, kill, started

from oobcodec import TruncatedError
from oobcodec.integrations.multiprocessing import Pipe

# Python from 3.12 on, and JAX if another test has imported it, warn of threads: the children here need none.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
]


@pytest.fixture(params=CONTEXTS)
def context(request):
    return request.param


def echo(connection):
    with connection:
        try:
            while True:
                connection.send(connection.recv())
        except EOFError:
            pass


def test_objects_come_back_from_a_child(context):
    here, there = Pipe()
    child = started(context, echo, there, without=[here])
    there.close()
    for obj in ({"a": 1}, np.arange(1000.0), np.ones(4 * MIB // 8), b"x" * MIB, None):
        here.send(obj)
        assert here.poll(LONG)
        np.testing.assert_equal(here.recv(), obj)
    here.close()
    assert finished(child) == 0


def send_one(connection, obj):
    connection.send(obj)


def test_a_pipe_of_one_direction(context):
    reader, writer = Pipe(duplex=False)
    assert (reader.readable, reader.writable) == (True, False)
    assert (writer.readable, writer.writable) == (False, True)
    child = started(context, send_one, writer, np.arange(MIB))
    writer.close()
    np.testing.assert_array_equal(reader.recv(), np.arange(MIB))
    with pytest.raises(EOFError):
        reader.recv()
    assert finished(child) == 0


def test_an_end_refuses_what_it_is_not_for():
    reader, writer = Pipe(duplex=False)
    for call in (writer.recv, writer.recv_frames, writer.poll):
        with pytest.raises(OSError, match="for sending only"):
            call()
    for call in (reader.send, reader.send_frames):
        with pytest.raises(OSError, match="for receiving only"):
            call([])


def test_a_closed_end_says_so():
    here, there = Pipe()
    with there:
        assert not there.closed
        assert "readable and writable" in repr(there)
    assert there.closed
    assert there.fileno() == -1
    assert "closed" in repr(there)
    for call in (there.recv, there.poll, lambda: there.send(1)):
        with pytest.raises(OSError, match="closed"):
            call()
    there.close()
    assert here.poll()
    with pytest.raises(EOFError):
        here.recv()
    with pytest.raises(BrokenPipeError):
        here.send(1)


def test_arrays_are_writable_and_aligned():
    here, there = Pipe()
    here.send({"x": np.arange(500.0)})
    array = there.recv()["x"]
    array += 1
    assert array.__array_interface__["data"][0] % 64 == 0


def test_poll_tells_whether_something_is_there():
    here, there = Pipe()
    assert not there.poll()
    assert not there.poll(0.01)
    here.send(1)
    here.send(2)
    assert there.poll()
    assert there.recv() == 1
    assert there.poll()  # nothing is read ahead
    assert there.recv() == 2
    assert not there.poll()


def test_ends_can_be_waited_for_beside_those_of_the_standard_library():
    here, there = Pipe()
    other, another = multiprocessing.Pipe()
    with other, another:
        assert wait([there, another], 0) == []
        here.send(1)
        assert wait([there, another], LONG) == [there]


def answer_on(connection):
    with connection.recv() as reply:
        reply.send("hello")


def test_an_end_can_be_sent_over_another(context):
    here, there = Pipe()
    mine, theirs = Pipe()
    child = started(context, answer_on, there)
    there.close()
    here.send(theirs)
    assert mine.recv() == "hello"
    assert finished(child) == 0


def test_messages_that_are_encoded_already():
    here, there = Pipe()
    here.send([1, 2])
    frames = there.recv_frames()
    there.send_frames(frames)
    assert here.recv() == [1, 2]


def send_forever(connection, obj):
    while True:
        connection.send(obj)


def test_a_killed_sender_is_an_error_and_no_object(context):
    reader, writer = Pipe(duplex=False)
    child = started(context, send_forever, writer, np.ones(16 * MIB // 8))
    writer.close()
    assert reader.recv().nbytes == 16 * MIB
    # More than any socket holds: it is inside of a message.
    assert reader.poll(LONG)
    kill(child)
    with pytest.raises(TruncatedError):
        reader.recv()


def receive_part(connection):
    os.read(connection.fileno(), MIB)
    time.sleep(LONG)


def test_a_killed_receiver_is_an_error(context):
    here, there = Pipe()
    child = started(context, receive_part, there, without=[here])
    there.close()
    killer = threading.Timer(0.2, kill, [child])
    killer.start()
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        here.send(np.ones(16 * MIB // 8))
    killer.join()


def test_an_end_that_is_forgotten_is_closed_silently():
    here, there = Pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del here
        gc.collect()
    with pytest.raises(EOFError):
        there.recv()
