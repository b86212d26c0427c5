"""Writes the hostile messages, in a folder a subject: their packed form, or where there is none, their frames.

A file ``.oob`` is one packed message, or what claims to be one. A file ``.frames`` has in turn the length of each
frame, a u64, little-endian, and the frame. What becomes of each under ``policy=DATA``, and of some under ``TRUSTED``,
is in ``expected.json``.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "messages"
PACKED, SEPARATE = ".oob", ".frames"


def written(messages, subject):
    """Return what the file of each message holds, by its path."""
    from hostile.assembler import packed
    from hostile.headers import Separate

    files = {}
    for key, message in messages:
        name = f"{subject}/{key}"
        if isinstance(message, Separate):
            frames = [bytes(frame) for frame in message]
            name += SEPARATE
            data = b"".join([len(frame).to_bytes(8, "little") + frame for frame in frames])
        else:
            name += PACKED
            data = message if isinstance(message, bytes) else packed(message)
        if name in files:
            raise ValueError(name)
        files[name] = data
    return files


def small():
    """Return what the files beside this one hold."""
    from hostile import data, headers, libraries, names, streams, tensors

    subjects = {
        "headers": headers.messages(),
        "streams": streams.messages(),
        "names": names.messages(),
        "python": data.python(),
        "numpy": data.numpy(),
        "arrow": libraries.arrow(),
        "pandas": libraries.pandas(),
        "polars": tensors.polars(),
        "torch": tensors.torch(),
        "jax": tensors.jax(),
    }
    return {path: file for subject, messages in subjects.items() for path, file in written(messages, subject).items()}


def large():
    """Return what the files hold that are made when they are needed."""
    from hostile import large

    return written(large.messages(), "large")


def write(files, folder):
    """Write the files, and remove what is there of others."""
    for path in folder.glob("*/*"):
        if str(path.relative_to(folder)) not in files:
            path.unlink()
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def main():
    sys.path.insert(0, str(HERE.parent))
    write(small(), FOLDER)


if __name__ == "__main__":
    main()
