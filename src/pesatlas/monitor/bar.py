"""Progress bar of a stage: done, running, failed and left, in proportion."""

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.segment import Segment

NARROWEST, _WIDEST = 8, 30
_STYLES = ("green", "cyan", "red", "dim")
# told apart by their shape too: colours are not seen by everybody, nor in a file
_BLOCKS, _LETTERS = "█▓▚░", "#>x."

LEGEND = ("done", "at work", "failed", "left")
"""Names of the four pieces of a bar, in their order."""


def cells(counts: Sequence[int], width: int) -> list[int]:
    """Share ``width`` cells among ``counts``.

    They sum to it, and what is not zero has one cell at least where there is room.

    Nothing at all is no cells.
    """
    total = sum(counts)
    if not total:
        return [0] * len(counts)
    shares = [count * width / total for count in counts]
    found = [max(int(share), int(count > 0)) for share, count in zip(shares, counts, strict=True)]
    while sum(found) < width:
        found[max(range(len(found)), key=lambda i: shares[i] - found[i])] += 1
    while sum(found) > width:
        found[found.index(max(found))] -= 1
    return found


def pieces(counts: Sequence[int], width: int, *, plain: bool) -> list[tuple[str, str]]:
    """Return the text and style of each piece of a bar of ``width`` cells; ``plain`` is ASCII."""
    letters = _LETTERS if plain else _BLOCKS
    shared = cells(counts, width)
    return [(letter * n, style) for letter, n, style in zip(letters, shared, _STYLES, strict=False)]


def legend(*, plain: bool) -> list[tuple[str, str]]:
    """Return how the pieces look and what they are, with their styles."""
    letters = _LETTERS if plain else _BLOCKS
    return [(f"{a} {b}", style) for a, b, style in zip(letters, LEGEND, _STYLES, strict=True)]


def is_plain(console: Console) -> bool:
    """Whether only letters are to be shown: into a pipe or a file, or where the encoding has no blocks."""
    return not console.is_terminal or console.options.ascii_only


class StageBar:
    """A bar to be printed by rich, as wide as there is room.

    Parameters
    ----------
    counts : done, under way, failed, left
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts = counts

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Return the allowed width for rich."""
        return Measurement(NARROWEST, _WIDEST)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Give rich the pieces."""
        for text, style in pieces(self._counts, min(options.max_width, _WIDEST), plain=is_plain(console)):
            yield Segment(text, console.get_style(style))
