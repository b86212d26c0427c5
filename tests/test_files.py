"""Objects in files: mapped, streamed, and what is left of them when something goes wrong."""

import bz2
import gc
import gzip
import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import tracemalloc
import zipfile
from mmap import mmap
from pathlib import Path

import numpy as np
import pytest
from helpers import run_python

import oobcodec
from oobcodec.errors import (
    AuthenticationError,
    EncodeError,
    HeaderError,
    IntegrityError,
    LimitError,
    PolicyError,
    TruncatedError,
)
from oobcodec.files import dump, load

MIB = 1 << 20
NBYTES = 3 * MIB


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.oob"


@pytest.fixture
def obj():
    return {"x": np.arange(NBYTES / 8), "small": np.arange(300.0), "empty": np.zeros(0), "plain": [1, "text", None]}


def assert_equal(there, here):
    assert there.keys() == here.keys()
    for name, value in here.items():
        assert np.array_equal(there[name], value)


def address(array):
    return array.__array_interface__["data"][0]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def descriptors():
    gc.collect()  # what an error of an earlier test refers to
    return sorted(Path("/dev/fd").iterdir())


class Raises:
    def __setstate__(self, state):
        raise KeyError(state)

    def __reduce__(self):
        return Raises, (), "state"


# paths


@pytest.mark.parametrize("as_path", [Path, str])
@pytest.mark.parametrize("mode", ["r", "c"])
def test_an_object_comes_back(path, obj, as_path, mode):
    frames = oobcodec.dumps(obj)
    assert dump(obj, as_path(path)) == path.stat().st_size == oobcodec.packed_size(frames)
    assert path.read_bytes() == oobcodec.pack(frames)
    assert names(path.parent) == [path.name]
    assert_equal(load(as_path(path), mode=mode), obj)


@pytest.mark.parametrize("obj", [None, 7, "text", b"bytes" * 100_000, [], [bytearray(n) for n in (0, 1, 2000)]])
def test_objects_of_all_kinds(path, obj):
    dump(obj, path)
    assert load(path) == obj
    with path.open("rb") as file:
        assert load(file) == obj


def test_more_frames_than_the_system_takes_at_once(path):
    obj = [bytearray([i % 256]) * (1024 + i) for i in range(3000)]
    dump(obj, path)
    assert load(path) == obj


def test_arrays_are_aligned(path):
    dump([np.arange(500.0 + n) for n in range(5)], path)
    assert [address(array) % 64 for array in load(path)] == [0] * 5


def test_what_is_read_only_or_not(path, obj):
    obj["frozen"] = np.arange(1000.0)
    obj["frozen"].flags.writeable = False
    dump(obj, path)
    flags = {
        (mode, writable): [load(path, mode=mode, writable=writable)[name].flags.writeable for name in ("x", "frozen")]
        for mode in ("r", "c")
        for writable in (None, True, False)
    }
    assert flags == {
        ("r", None): [False, False],
        ("r", True): [True, False],
        ("r", False): [False, False],
        ("c", None): [True, False],
        ("c", True): [True, False],
        ("c", False): [False, False],
    }


def test_arrays_share_the_page_cache_and_copies_on_write_do_not(path, obj):
    dump(obj, path)
    reader, writer, other = load(path), load(path, mode="c"), load(path, mode="c")
    before = path.read_bytes()
    writer["x"][:] = -1
    assert path.read_bytes() == before
    assert_equal(other, obj)
    # Through the file, and not through `dump`: the views of the page cache see it.
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(np.float64(42).tobytes())
    last = next(name for name in reversed(obj) if isinstance(obj[name], np.ndarray) and obj[name].size)
    assert reader[last][-1] == other[last][-1] == 42


def test_arrays_keep_the_mapping_and_nothing_else_does(path, obj):
    before = descriptors()
    dump(obj, path)
    x = load(path)["x"]
    assert np.array_equal(x, obj["x"])
    mapping = memoryview(x).obj.base
    while not isinstance(mapping, mmap):
        mapping = mapping.obj if isinstance(mapping, memoryview) else mapping.base
    with pytest.raises(BufferError):
        mapping.close()
    del x, mapping
    assert not {*descriptors()} - {*before}


def test_a_mapped_file_that_is_overwritten_is_undisturbed(path, obj):
    dump(obj, path)
    old = load(path)
    dump({"x": np.zeros(10)}, path)
    assert_equal(old, obj)
    assert load(path)["x"].tolist() == [0] * 10
    # Also by what lies in it.
    dump(old["x"], path)
    dump(load(path)[1:], path)
    assert np.array_equal(load(path), obj["x"][1:])


def test_a_mapped_file_that_is_removed_is_undisturbed(path, obj):
    dump(obj, path)
    there = load(path)
    path.unlink()
    assert_equal(there, obj)


def test_a_snapshot_is_what_it_was_when_dump_began(path):
    def change(done, total):
        array[:] = -1

    for copy in (True, False):
        array = np.zeros(NBYTES // 8)
        dump(array, path, copy=copy, progress=change)
        assert load(path).any() != copy


LARGE = 5 << 30


@pytest.fixture
def large():
    """An array that takes no memory until it is read."""
    return np.frombuffer(mmap(-1, LARGE), np.uint8)


class Sparse(io.RawIOBase):
    """A file object that writes large pieces as holes."""

    def __init__(self, file):
        self.file = file

    def write(self, data):
        if not self.file.tell() or len(data) < MIB:
            return self.file.write(data)
        self.file.seek(len(data), os.SEEK_CUR)
        return len(data)


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells what memory a process has")
def test_five_gigabytes_of_which_nobody_reads_anything(path, large):
    with path.open("wb", buffering=0) as file:
        assert dump(large, Sparse(file)) == oobcodec.packed_size(oobcodec.dumps(large))
        file.truncate(file.tell())
    before = resident()
    for mode in ("r", "c"):
        array = load(path, mode=mode)
        assert array.nbytes == LARGE
        assert array[-1] == 0
    assert resident() - before < 4 * MIB
    with pytest.raises(LimitError, match=r"the message declares 5\.1 GiB; limit max_total_bytes=4 GiB"):
        load(path, policy=oobcodec.DATA)
    with pytest.raises(LimitError), path.open("rb") as file:
        load(file, policy=oobcodec.DATA)


def test_dump_to_a_path_takes_no_memory(path):
    array = np.zeros(64 * MIB // 8)
    dump(array[:1000], path)
    tracemalloc.start()
    try:
        dump(array, path)
        assert tracemalloc.get_traced_memory()[1] < MIB
        with path.open("wb") as file:
            dump(array, file)
        assert tracemalloc.get_traced_memory()[1] < 3 * MIB
    finally:
        tracemalloc.stop()


# what is checked


def test_checksums(path, obj):
    dump(obj, path, checksum=True)
    assert_equal(load(path), obj)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"^.*file\.oob: frame \d is not what was sent"):
        load(path)
    with path.open("rb") as file, pytest.raises(IntegrityError, match=r"^.*file\.oob: frame \d is not what was sent"):
        load(file)


def test_signatures(path, obj):
    ours, other = (oobcodec.Keyring({name: bytes([i]) * 32}, sign_with=name) for i, name in enumerate(["a", "b"]))
    dump(obj, path, keyring=ours)
    assert_equal(load(path, keyring=ours), obj)
    with path.open("rb") as file:
        assert_equal(load(file, keyring=ours), obj)
    for keyring in (other, oobcodec.Keyring({"a": bytes(range(32))})):
        with pytest.raises(AuthenticationError, match=r"^.*file\.oob: "):
            load(path, keyring=keyring)
        with path.open("rb") as file, pytest.raises(AuthenticationError, match=r"^.*file\.oob: "):
            load(file, keyring=keyring)
    dump(obj, path)
    with pytest.raises(AuthenticationError):
        load(path, keyring=ours)


def test_policy_and_limits(path):
    dump({"x": np.arange(1000.0)}, path)
    assert load(path, policy=oobcodec.DATA)["x"][-1] == 999
    limits = oobcodec.Limits(max_total_bytes=1000)
    with pytest.raises(LimitError, match=r"^.*file\.oob: the message declares"):
        load(path, limits=limits)
    with path.open("rb") as file, pytest.raises(LimitError, match=r"^.*file\.oob: the message declares"):
        load(file, limits=limits)
    dump(os.getcwd, path)
    with pytest.raises(PolicyError, match=r"^.*file\.oob: refused"):
        load(path, policy=oobcodec.DATA)


def test_other_options_of_loads(path):
    dump([oobcodec.Encoded(oobcodec.dumps(1))], path)
    assert load(path) == [1]
    assert isinstance(load(path, open_encoded=False)[0], oobcodec.Encoded)
    torch = pytest.importorskip("torch", reason="torch is not installed, and only it takes a map_location")
    dump(torch.ones(1000), path)
    assert load(path, map_location="meta").device.type == "meta"


# what is no message


def npz():
    file = io.BytesIO()
    np.savez(file, np.ones(10))
    return file.getvalue()


def npy():
    file = io.BytesIO()
    np.save(file, np.ones(10))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (b"", HeaderError, "the file is empty"),
        (pickle.dumps([1]), HeaderError, "not an oobcodec message: by its first bytes the file is a pickle"),
        (npy(), HeaderError, r"the file is an array of numpy \(\.npy\)"),
        (npz(), HeaderError, "the file is a zip archive"),
        (gzip.compress(b"data", mtime=0), HeaderError, "the file is compressed with gzip"),
        (b"some text", HeaderError, "not an oobcodec message: it starts with b'som' instead of b'OOB'"),
        (b"\x80", HeaderError, "a pickle"),
        (b"OOB\x01", TruncatedError, "a message starts with 24 bytes, here are 4"),
        (b"OOB\x02" + bytes(20), HeaderError, "message format version 2"),
    ],
)
def test_another_file(path, content, error, text):
    path.write_bytes(content)
    with pytest.raises(error, match=rf"^{path}: .*{text}"):
        load(path)


@pytest.mark.parametrize("content", [b"some text, and more than the prelude", b"OOB\x02" + bytes(20)])
def test_another_file_object(content):
    with pytest.raises(HeaderError, match=r"^BytesIO: "):
        load(io.BytesIO(content))


def test_a_file_that_is_too_short_or_too_long(path, obj):
    size = dump(obj, path)
    data = path.read_bytes()
    for length in (1, 23, 24, 100, size // 2, size - 1):
        path.write_bytes(data[:length])
        with pytest.raises(TruncatedError, match=rf"^{path}: "):
            load(path)
        with path.open("rb") as file, pytest.raises(TruncatedError, match=rf"^{path}: .* bytes received"):
            load(file)
    path.write_bytes(data + b"!")
    with pytest.raises(HeaderError, match=rf"^{path}: 1 bytes follow a message of {size}"):
        load(path)


def test_an_exception_of_the_object_names_the_file(path):
    dump(Raises(), path)
    with pytest.raises(KeyError) as caught:
        load(path)
    assert str(path) in caught.value.__notes__


def test_no_file(tmp_path):
    before = descriptors()
    os.mkfifo(tmp_path / "fifo")
    for name, error, text in (
        ("nothing", FileNotFoundError, "nothing"),
        (".", IsADirectoryError, "directory"),
        ("fifo", OSError, r"Not a regular file \(open it and pass the file object\)"),
    ):
        with pytest.raises(error, match=text):
            load(tmp_path / name)
    with pytest.raises(OSError, match="Not a regular file"):
        dump(1, tmp_path / "fifo")
    assert not {*descriptors()} - {*before}


@pytest.mark.parametrize("file", [3, None, b"path", bytearray(10), [b"frame"], object()])
def test_neither_path_nor_file_object(file):
    for call in (load, lambda file: dump(1, file)):
        with pytest.raises(
            TypeError, match=r"file is a path or a binary file object with (readinto\(\) or read|write)\(\), not "
        ) as caught:
            call(file)
        assert ("memory is for oobcodec.loads" in str(caught.value)) == isinstance(file, bytes | bytearray | list)


def test_no_mode(path):
    with pytest.raises(ValueError, match=r"mode is 'r' \(read-only\) or 'c' \(copy on write\), not 'w'"):
        load(path, mode="w")


# file objects


def test_messages_one_after_another(path, obj):
    with path.open("wb") as file:
        sizes = [dump(obj, file), dump([1, 2], file), dump(np.arange(1000.0), file)]
        file.write(b"something else")
    with path.open("rb") as file:
        assert_equal(load(file), obj)
        assert file.tell() == sizes[0]
        assert load(file) == [1, 2]
        assert load(file)[-1] == 999
        assert file.tell() == sum(sizes)
        assert file.read() == b"something else"
        with pytest.raises(EOFError) as caught:
            load(file)
    assert caught.value.__notes__ == [str(path)]


def test_what_is_streamed_has_aligned_memory_of_its_own(path, obj):
    dump(obj, path)
    for buffering in (0, -1):
        with path.open("rb", buffering=buffering) as file:
            there = load(file)
        assert_equal(there, obj)
        assert there["x"].flags.writeable
        assert address(there["x"]) % 64 == address(there["small"]) % 64 == 0


class Read:
    """A file object that can only be read, and returns less than it is asked for."""

    def __init__(self, data):
        self.data = io.BytesIO(data)

    def read(self, size):
        return self.data.read(min(size, 100_000))


class Write:
    """A file object that can only be written to, and does not say how much it has taken."""

    def __init__(self):
        self.data = bytearray()

    def write(self, data):
        self.data += data


class ShortWrites(io.RawIOBase):
    """A file object that takes few bytes at once."""

    def __init__(self):
        self.data = bytearray()

    def write(self, data):
        self.data += data[:12_345]
        return min(len(data), 12_345)


@pytest.mark.parametrize("kind", [Write, ShortWrites])
def test_file_objects_with_as_little_as_possible(obj, kind):
    file = kind()
    assert dump(obj, file) == len(file.data)
    assert_equal(load(Read(bytes(file.data))), obj)


def test_file_objects_of_the_standard_library(path, obj):
    for opened in (gzip.open, bz2.open):
        with opened(path, "wb") as file:
            dump(obj, file)
        with opened(path, "rb") as file:
            assert_equal(load(file), obj)
    with zipfile.ZipFile(path, "w") as archive, archive.open("member", "w") as file:
        dump(obj, file)
    with zipfile.ZipFile(path) as archive, archive.open("member") as file:
        assert_equal(load(file), obj)
    with tempfile.SpooledTemporaryFile(MIB) as file:
        dump(obj, file)
        file.seek(0)
        assert_equal(load(file), obj)
    with tempfile.NamedTemporaryFile() as file:
        dump(obj, file)
        file.seek(0)
        assert_equal(load(file), obj)


def test_pipes_and_sockets(obj):
    reader, writer = os.pipe()
    near, far = socket.socketpair()
    for source, sink in (
        (os.fdopen(reader, "rb"), os.fdopen(writer, "wb")),
        (near.makefile("rb"), far.makefile("wb")),
    ):
        with source, sink:
            thread = threading.Thread(target=lambda file=sink: (dump(obj, file), file.flush()))
            thread.start()
            assert_equal(load(source), obj)
            thread.join()
    near.close()
    far.close()


def test_fsspec(path, obj):
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    for url in (f"memory://{path}", f"file://{path}", f"simplecache::file://{path}"):
        with fsspec.open(url, "wb") as file:
            dump(obj, file)
        with fsspec.open(url, "rb") as file:
            assert_equal(load(file), obj)
    assert_equal(load(path), obj)


def test_a_path_that_can_write():
    class Local:
        def __fspath__(self):
            return "/nowhere/file"

        def write(self, data):
            pytest.fail("it is a path")

        read = write

    with pytest.raises(FileNotFoundError):
        dump(1, Local())
    with pytest.raises(FileNotFoundError):
        load(Local())


def test_text_files_are_refused(path):
    path.write_text("text" * 1000)
    with path.open() as file, pytest.raises(TypeError, match="str"):
        load(file)
    with path.open("w") as file, pytest.raises(TypeError, match="str"):
        dump(1, file)


def test_file_objects_that_do_not_wait(obj):
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    with os.fdopen(reader, "rb", buffering=0) as source, os.fdopen(writer, "wb", buffering=0) as sink:
        with pytest.raises(BlockingIOError, match="The file object is non-blocking"):
            load(source)
        with pytest.raises(BlockingIOError, match="The file object is non-blocking"):
            dump(obj, sink)

    class Empty:
        def read(self, size):
            return None

    with pytest.raises(BlockingIOError, match="The file object is non-blocking"):
        load(Empty())


# progress


def test_progress(path, obj):
    seen = []

    def progress(done, total):
        seen.append((done, total))

    size = dump(obj, path, progress=progress)
    assert seen == sorted(set(seen))
    assert len(seen) >= 3
    assert {total for _, total in seen} == {seen[-1][0]} == {size}
    seen.clear()
    load(path, progress=progress)
    assert not seen
    with path.open("rb") as file:
        load(file, progress=progress)
    assert seen == sorted(set(seen))
    assert len(seen) >= 3
    assert {total for _, total in seen} == {seen[-1][0]} == {size}


def test_a_file_object_needs_no_more_than_readinto():
    class Bare:
        def __init__(self, data):
            self.readinto = io.BytesIO(data).readinto

    assert load(Bare(oobcodec.pack(oobcodec.dumps([1])))) == [1]


def test_a_message_cut_in_its_prelude_has_no_progress():
    class Slow(io.BytesIO):
        def readinto(self, memory):
            return super().readinto(memory[:10])

    seen = []
    assert load(Slow(oobcodec.pack(oobcodec.dumps([1]))), progress=lambda *numbers: seen.append(numbers)) == [1]
    assert seen[0][0] == 24


# faults


def test_what_cannot_be_pickled_leaves_the_old_file(path):
    dump("old", path)
    with pytest.raises(EncodeError):
        dump(threading.Lock(), path)
    assert load(path) == "old"


def test_an_interrupt_leaves_the_old_file(path, obj):
    def interrupt(done, total):
        if done > total / 2:
            signal.raise_signal(signal.SIGINT)

    before = descriptors()
    dump("old", path)
    with pytest.raises(KeyboardInterrupt):
        dump(obj, path, progress=interrupt)
    assert load(path) == "old"
    assert names(path.parent) == [path.name]
    assert not {*descriptors()} - {*before}


def test_short_writes(path, obj, monkeypatch):
    def short(descriptor, pieces):
        counts.append(len(pieces))
        return writev(descriptor, [memoryview(pieces[0])[: 1 + 5000 * (len(counts) % 3)]])

    writev, counts = os.writev, []
    monkeypatch.setattr(os, "writev", short)
    assert dump(obj, path) == path.stat().st_size
    assert len(counts) > 300
    assert_equal(load(path), obj)


def test_signals_while_it_writes(path):
    received = []
    before = signal.signal(signal.SIGALRM, lambda *_: received.append(1))
    obj = np.arange(20 * MIB / 8)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        dump(obj, path)
        with path.open("rb") as file:
            there = load(file)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert received
    assert np.array_equal(there, obj)


def test_a_file_that_becomes_too_large(path):
    code = """
        import resource, sys
        from oobcodec.files import dump
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        try:
            dump(bytearray(3_000_000), sys.argv[1])
        except OSError as error:
            print(error.strerror, error.__notes__, flush=True)
    """
    dump("old", path)
    assert run_python(code, path, measured=False).decode() == f"File too large ['{path}']\n"
    assert load(path) == "old"
    assert names(path.parent) == [path.name]


def test_a_full_disk(path):
    path.parent.joinpath("disk").mkdir()
    code = """
        import os, sys
        from oobcodec.files import dump, load
        path = sys.argv[1]
        dump("old", path)
        before = os.statvfs(path).f_bfree
        try:
            dump(bytearray(3_000_000), path)
        except OSError as error:
            print(error.strerror, error.__notes__)
        print(load(path), os.listdir(os.path.dirname(path)), os.statvfs(path).f_bfree - before)
    """
    script = path.parent / "script.py"
    script.write_text("\n".join(line[8:] for line in code.splitlines()))
    disk = path.parent / "disk"
    # The mount is gone with the process.
    mounted = 'mount -t tmpfs -o size=1m tmpfs "$0" || exit 77; exec "$@"'
    spaces = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    command = [*spaces, "sh", "-c", mounted, str(disk), sys.executable, str(script), str(disk / "file")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no command unshare")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    assert done.stderr == ""
    assert done.stdout == f"No space left on device ['{disk / 'file'}']\nold ['file'] 0\n"


# Without numpy, whose threads a fork would not have.
KILLED = """
    import os, random, signal, sys, time
    from oobcodec.files import dump, load
    path, way, seed = sys.argv[1:]
    if way == "named":
        vars(os).pop("O_TMPFILE", None)
    random.seed(int(seed))
    old = {"round": 0, "data": bytearray(8 << 20)}
    dump(old, path)
    left = 0
    for number in range(1, 51):
        pid = os.fork()
        if not pid:
            dump({"round": number, "data": bytearray([number]) * (8 << 20)}, path)
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(random.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        found = load(path)
        assert found["round"] in (old["round"], number), found["round"]
        assert set(found["data"]) == {found["round"]}
        left = max(left, len(os.listdir(os.path.dirname(path))) - 1)
        old = found
    dump("end", path)
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
    print(left)
"""


@pytest.mark.parametrize("way", ["unnamed", "named"])
def test_a_process_that_is_killed_at_any_moment(path, way):
    assert int(run_python(KILLED, path, way, 1, measured=False)) <= 1
