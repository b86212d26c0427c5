"""Files that are replaced as a whole or not at all, on file systems of all kinds."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import pytest
from helpers import run_python

from oobcodec import replacing as module
from oobcodec.replacing import replacing


def refuse_unnamed(monkeypatch):
    def refusing(path, flags, *arguments, **options):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)
        return real(path, flags, *arguments, **options)

    real = os.open
    monkeypatch.setattr(os, "open", refusing)


@pytest.fixture(params=["as it is", "refused by the file system", "unknown to the system", "without /proc"])
def way(request, monkeypatch):
    """Whether there are files without names."""
    if request.param == "refused by the file system":
        if not hasattr(os, "O_TMPFILE"):
            pytest.skip("the system has no files without names that it could refuse")
        refuse_unnamed(monkeypatch)
    elif request.param == "unknown to the system":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif request.param == "without /proc":
        monkeypatch.setattr(module, "_DESCRIPTORS", Path("/nowhere"))
    return request.param


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def write(path, data, error=None):
    with replacing(path) as descriptor:
        os.write(descriptor, data)
        if error is not None:
            raise error


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_new_file_has_the_permissions_of_any_other(way, umask, tmp_path):
    write(tmp_path / "new", b"data")
    assert content(tmp_path) == {"new": b"data"}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_the_new_file_has_the_permissions_of_the_old_one(way, umask, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old and longer")
    path.chmod(0o606)
    write(str(path), b"new")
    assert content(tmp_path) == {"file": b"new"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o606


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_new_file_has_the_owner_of_the_old_one(tmp_path):
    path = tmp_path / "file"
    path.touch()
    os.chown(path, 12345, 54321)
    write(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_the_owner_changes_where_the_system_does_not_let_it_stay(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    path = tmp_path / "file"
    path.touch(0o604)
    status = os.stat_result([path.stat().st_mode, 0, 0, 1, 12345, 54321, 0, 0, 0, 0])
    monkeypatch.setattr(module, "_replaceable", lambda _: status)
    monkeypatch.setattr(os, "fchown", refuse)
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(status.st_mode)


def test_a_write_protected_file_is_left_alone():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        for file, mode in (("protected", 0o444), ("open", 0o666)):
            (folder / file).write_bytes(b"old")
            (folder / file).chmod(mode)
        root = os.getuid() == 0
        if root:
            os.setresuid(65534, 0, 0)  # the system tells root that it may write to anything
        try:
            with pytest.raises(PermissionError, match="protected"):
                write(folder / "protected", b"new")
            write(folder / "open", b"new")
        finally:
            if root:
                os.setresuid(0, 0, 0)
        assert content(folder) == {"protected": b"old", "open": b"new"}


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays(way, tmp_path, exists):
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder" / "file"
    if exists:
        file.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to("folder/file")
    write(link, b"new")
    assert link.is_symlink()
    assert content(file.parent) == {"file": b"new"}


def test_a_hard_link_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    (tmp_path / "other").hardlink_to(path)
    write(path, b"new")
    assert content(tmp_path) == {"file": b"new", "other": b"old"}


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for name, error, text in (
        (".", IsADirectoryError, "Is a directory"),
        ("fifo", OSError, r"Not a regular file \(open it and pass the file object\): '.*fifo'"),
        ("loop", OSError, "symbolic links"),
        ("no/file", FileNotFoundError, "no/"),
    ):
        with pytest.raises(error, match=text):
            write(tmp_path / name, b"")
    with pytest.raises(OSError, match="Not a regular file"):
        write("/dev/null", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo", "loop"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file(way, tmp_path, error):
    path = tmp_path / "file"
    descriptors = sorted(Path("/dev/fd").iterdir())
    for before in ({}, {"file": b"old"}):
        with pytest.raises(error):
            write(path, b"new", error)
        assert content(tmp_path) == before
        path.write_bytes(b"old")
    assert sorted(Path("/dev/fd").iterdir()) == descriptors


@pytest.mark.parametrize("call", ["fsync", "fchmod", "replace"])
def test_a_failing_call_leaves_the_old_file(way, tmp_path, monkeypatch, call):
    def fail(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write(path, b"new")
    assert content(tmp_path) == {"file": b"old"}


def test_an_interrupt_behind_any_call_leaves_one_of_both_and_nothing_else(way, tmp_path, monkeypatch):
    path = tmp_path / "file"
    for call in ("fsync", "link", "replace", "unlink", "close"):
        real = getattr(os, call)

        def interrupted(*arguments, real=real, **options):
            real(*arguments, **options)
            raise KeyboardInterrupt

        path.write_bytes(b"old")
        with monkeypatch.context() as patch:
            patch.setattr(os, call, interrupted)
            try:
                write(path, b"new")
            except KeyboardInterrupt:
                pass
            else:
                assert call in {"link", "unlink"}, "was called"
        assert content(tmp_path) in ({"file": b"old"}, {"file": b"new"})


KILLED = """
import os, signal, sys
from oobcodec import replacing
way, path, call, when = sys.argv[1:]
if way == "named":
    vars(os).pop("O_TMPFILE", None)
real = getattr(os, call)
def killed(*arguments, **options):
    if when == "after":
        real(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
with replacing.replacing(path) as descriptor:
    setattr(os, call, killed)
    os.write(descriptor, b"new") if call != "write" else killed(descriptor, b"new")
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("way", "call"),
    [*product(["unnamed", "named"], ["write", "fsync", "replace"]), ("unnamed", "link")],  # the others have a name
)
def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path, way, call, when):
    if way == "unnamed" and not hasattr(os, "O_TMPFILE"):
        pytest.skip("the system has no files without names")
    path = tmp_path / "file"
    path.write_bytes(b"old")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, way, str(path), call, when]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert path.read_bytes() == (b"new" if (call, when) == ("replace", "after") else b"old")
    left = len(content(tmp_path)) - 1
    # Between the two calls that give it a name and then the right one.
    window = (call, when) in {("link", "after"), ("replace", "before")}
    assert left == (window if way == "unnamed" else (call, when) != ("replace", "after"))
    write(path, b"newer")
    assert content(tmp_path) == {"file": b"newer"}


def test_what_a_living_process_writes_is_not_removed(way, tmp_path):
    path = tmp_path / "file"
    with replacing(path) as first, replacing(path) as second, replacing(path) as third:
        for descriptor, data in ((first, b"first"), (second, b"second"), (third, b"third")):
            os.write(descriptor, data)
        write(path, b"fourth")
        assert path.read_bytes() == b"fourth"
    assert content(tmp_path) == {"file": b"first"}


def test_a_name_that_another_process_holds_is_not_taken(tmp_path):
    held = tmp_path / ".file.0.oobcodec"
    held.write_bytes(b"of somebody else")
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write(tmp_path / "file", b"data")
    assert content(tmp_path) == {"file": b"data", held.name: b"of somebody else"}
    write(tmp_path / "file", b"data")
    assert content(tmp_path) == {"file": b"data"}


@pytest.mark.parametrize("removes", [True, False])
def test_a_file_that_another_process_takes_for_left_over_is_given_up(tmp_path, monkeypatch, removes):
    def lock(descriptor, how):
        if not seen:
            # Between its creation and its lock another process locks it, and may have removed it and gone already.
            seen.append(held.open("rb"))
            if removes:
                held.unlink()
            else:
                real(seen[0], how)
        return real(descriptor, how)

    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    held, seen, real = tmp_path / ".file.0.oobcodec", [], fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lock)
    write(tmp_path / "file", b"data")
    (other,) = seen
    with other:
        assert (tmp_path / "file").read_bytes() == b"data"
        assert held.exists() != removes


def test_a_file_system_without_locks(way, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".file.0.oobcodec").write_bytes(b"of somebody, perhaps")
    write(tmp_path / "file", b"data")
    assert content(tmp_path) == {"file": b"data", ".file.0.oobcodec": b"of somebody, perhaps"}


def test_a_hidden_name_that_is_no_file_is_passed_over(way, tmp_path):
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / ".file.0.oobcodec").symlink_to("victim")
    os.mkfifo(tmp_path / ".file.1.oobcodec")
    (tmp_path / ".file.2.oobcodec").mkdir()
    write(tmp_path / "file", b"data")
    assert (tmp_path / "file").read_bytes() == b"data"
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert (tmp_path / ".file.0.oobcodec").is_symlink()


@pytest.mark.parametrize("name", ["x" * 255, "\N{SNOWMAN}" * 85])
def test_a_name_as_long_as_the_system_takes(way, tmp_path, name):
    write(tmp_path / name, b"old")
    write(tmp_path / name, b"new")
    assert content(tmp_path) == {name: b"new"}


def test_a_directory_that_cannot_be_read(tmp_path, monkeypatch):
    def refusing(path, flags, *arguments):
        if Path(path) == tmp_path and flags == os.O_RDONLY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, flags, *arguments)

    real = os.open
    monkeypatch.setattr(os, "open", refusing)
    write(tmp_path / "file", b"data")
    assert content(tmp_path) == {"file": b"data"}


def test_data_and_directory_are_on_the_disk_in_this_order(way, tmp_path, monkeypatch):
    def noted(descriptor):
        status = os.fstat(descriptor)
        calls.append("directory" if stat.S_ISDIR(status.st_mode) else status.st_size)
        return fsync(descriptor)

    def renamed(*arguments):
        calls.append("rename")
        return replace(*arguments)

    calls, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", renamed)
    write(tmp_path / "file", b"data")
    assert calls == [4, "rename", "directory"]


def test_processes_that_replace_the_same_file_at_the_same_time(tmp_path):
    writers = """
        import os, sys
        from oobcodec.replacing import replacing
        if sys.argv[2] == "named":
            vars(os).pop("O_TMPFILE", None)
        children = []
        for child in range(4):
            pid = os.fork()
            if not pid:
                for number in range(50):
                    with replacing(sys.argv[1]) as descriptor:
                        os.write(descriptor, b"%d %d\\n" % (child, number) * 1000)
                os._exit(0)
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    """
    for way in ("unnamed", "named"):
        run_python(writers, tmp_path / "file", way)
        ((name, data),) = content(tmp_path).items()
        assert name == "file"
        (line,) = set(data.splitlines())
        assert line.endswith(b" 49")
        assert data.count(b"\n") == 1000
