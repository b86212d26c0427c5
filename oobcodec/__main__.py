"""``python -m oobcodec`` is the command ``oobcodec``."""

from oobcodec.cli import main

main()
