"""What many messages leave behind: right results in all threads, and no memory."""

import json
import threading

import numpy as np
import pytest
from helpers import run_python

import oobcodec

THREADS = 16
MESSAGES = 10_000
NOISE = 4 << 20
"""Bytes that a process may have more after as many messages as before them: allocators keep some."""


def _object(number):
    kinds = (
        lambda: {"id": number, "tags": ["a", "b"], "at": (number / 2, None)},
        lambda: np.arange(200.0) + number,
        lambda: [np.arange(3) + number, f"text {number}", {number: b"octets"}],
        lambda: b"%d" % number,
    )
    return kinds[number % len(kinds)]()


def _equal(got, want):
    if isinstance(want, list):
        return len(got) == len(want) and all(map(_equal, got, want))
    return np.array_equal(got, want) if isinstance(want, np.ndarray) else got == want


@pytest.mark.parametrize("policy", ["DATA", "TRUSTED"])
@pytest.mark.parametrize("writable", [None, True, False])
def test_threads_share_a_codec(policy, writable):
    codec = oobcodec.Codec(policy=getattr(oobcodec, policy), writable=writable)
    start, failed = threading.Barrier(THREADS), []

    def work(thread):
        start.wait()
        try:
            for number in range(thread, MESSAGES, THREADS):
                want = _object(number)
                got = codec.loads([bytearray(frame) for frame in codec.dumps(want)])
                if not _equal(got, want):
                    failed.append((number, got))
                if writable is not None and isinstance(got, np.ndarray) and got.flags.writeable is not writable:
                    failed.append((number, got.flags.writeable))
        except Exception as error:  # noqa: BLE001  # is told by the test
            failed.append((thread, error))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_threads_share_what_is_remembered_about_policies():
    """Under one policy what another refuses, at the same time."""
    frames = [bytes(frame) for frame in oobcodec.dumps([np.arange(3), print])]
    start, failed = threading.Barrier(THREADS), []

    def work(thread):
        policy = oobcodec.TRUSTED if thread % 2 else oobcodec.DATA
        start.wait()
        for _ in range(MESSAGES // THREADS):
            try:
                refused = oobcodec.loads(frames, policy=policy)[1] is not print
            except oobcodec.PolicyError:
                refused = True
            if refused is bool(thread % 2):
                failed.append(thread)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


SOAK = """
    import gc, json, random, sys
    import numpy as np
    import oobcodec

    policy, what, count = getattr(oobcodec, sys.argv[1]), sys.argv[2], int(sys.argv[3])
    PAGE = 4096

    def received(obj):
        return [bytearray(frame) for frame in oobcodec.dumps(obj)]

    DAMAGED = bytes(received([np.arange(300.0), "text", {1: 2}])[1])
    FOREIGN = received([print, np.arange(3.0)])

    def the_same(number):
        frames = received({"array": np.arange(300.0), "list": [1, 2.5, None], "record": np.zeros(3, "i4,S3")})
        assert oobcodec.loads(frames, policy=policy)["list"] == [1, 2.5, None]

    def distinct(number):
        # Streams, dtypes, shapes and headers that no other message has.
        shape = (1 + number % 7, 1 + number // 7)
        obj = [np.zeros(shape), f"{number} " * (number % 300), {number: number / 3}, np.zeros(2, f"S{number + 1}")]
        assert oobcodec.loads(received(obj), policy=policy)[2] == {number: number / 3}
        one = np.full((200 + number,), number)
        assert oobcodec.loads(received(one), policy=policy)[0] == number

    def refused(number):
        rng = random.Random(number)
        frames = received([np.arange(300.0), "text", {1: 2}])
        kind = number % 4
        if kind == 0:
            frames[0] = bytearray(rng.randbytes(1 + number % 400))
        elif kind == 1:
            frames[1][rng.randrange(2, 11)] ^= 1 + rng.randrange(255)
        elif kind == 2:
            del frames[-1]
        else:
            frames[1][-1] = 0
        try:
            oobcodec.loads(frames, policy=policy)
        except oobcodec.OobError:
            return
        assert kind == 1, "not refused"

    def foreign(number):
        try:
            oobcodec.loads(received({f"{number}": [print, f"name {number}"]}), policy=policy)
        except oobcodec.PolicyError:
            return
        assert policy is oobcodec.TRUSTED, "not refused"

    def pages():
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])

    run = globals()[what]
    for number in range(count):
        run(number)
    before = pages()
    for number in range(count, 2 * count):
        run(number)
    print(json.dumps((pages() - before) * PAGE))
"""


@pytest.mark.parametrize("what", ["the_same", "distinct", "refused", "foreign"])
@pytest.mark.parametrize("policy", ["DATA", "TRUSTED"])
def test_memory_stays_flat(policy, what):
    grown = json.loads(run_python(SOAK, policy, what, MESSAGES, measured=False))
    assert grown < NOISE
