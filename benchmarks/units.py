"""Amounts for people."""

from __future__ import annotations


def duration(seconds: float) -> str:
    return _scaled(seconds, (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)), ("ns", 1e-9))


def amount(nbytes: float) -> str:
    return _scaled(nbytes, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)), ("B", 1.0))


def times(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 99.5 else f"{ratio:.2g}x"


def _scaled(number: float, units: tuple[tuple[str, float], ...], least: tuple[str, float]) -> str:
    unit, scale = next((each for each in units if number >= each[1]), least)
    return f"{number / scale:.3g} {unit}"
