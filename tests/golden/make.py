"""Writes the golden messages that are not there yet: what this version makes of the specimens, in the packed form.

And of small objects of the libraries that are installed, in a folder a library. They are kept forever, so none is ever
written again.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent / "v1"
SUFFIX = ".oob"


def main():
    sys.path.insert(0, str(HERE.parents[1]))
    from golden import objects
    from specimens import SPECIMENS, registered

    import oobcodec

    with registered():
        messages = {name: oobcodec.dumps(specimen.make()) for name, specimen in SPECIMENS.items()}
    # Not from this file, whose path would be in the message.
    messages["code_by_value"] = oobcodec.dumps(eval("lambda x: x + 1", {"__name__": "__main__"}))
    messages |= {"/".join(names): oobcodec.dumps(objects.make(*names)) for names in objects.installed()}
    for name, frames in messages.items():
        path = HERE / f"{name}{SUFFIX}"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            with path.open("xb") as file:
                file.write(oobcodec.pack(frames))


if __name__ == "__main__":
    main()
