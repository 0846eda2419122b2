"""Readable times and sizes."""

import math


def duration(seconds: float | None) -> str:
    """Return a time: 40 s, 12 min, 3 h 05 min, 4 d 2 h.

    What began ahead of us, by another machine's clock, began now.
    """
    if seconds is None:
        return ""
    seconds = max(seconds, 0.0)
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


def size(number: float) -> str:
    """Return a number of bytes in words."""
    units = ["B", "kB", "MB", "GB", "TB"]
    power = min(int(math.log10(max(number, 1)) // 3), len(units) - 1)
    return f"{number / 1000**power:.3g} {units[power]}"
