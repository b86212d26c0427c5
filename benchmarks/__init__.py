"""What oobcodec costs, beside what it replaces, measured in one run: ``python -m benchmarks``."""
