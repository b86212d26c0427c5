"""The code blocks of the README, which are tested as they stand there."""

import re
import textwrap
from pathlib import Path

README = Path(__file__).parent.parent / "README.rst"


def code_block(text):
    """Return the block of code that contains a text."""
    blocks = re.findall(r"^\.\. code:: python\n\n((?:    .*\n|\n)+)", README.read_text(), re.MULTILINE)
    (block,) = (textwrap.dedent(block) for block in blocks if text in block)
    return block
