"""Position and values of options in Snakemake's command line."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """One occurrence of an option.

    Attributes
    ----------
    at : where its name stands among the arguments
    values : its values
    joined : whether its one value is part of the same argument: ``--until=run_md``, ``-Uresults/card.json``
    """

    at: int
    values: tuple[str, ...]
    joined: bool = False

    @property
    def indices(self) -> range:
        """Return where its name and its values stand."""
        return range(self.at, self.at + 1 + (0 if self.joined else len(self.values)))


def find_options(arguments: Sequence[str], *names: str) -> list[Option]:
    """Return every occurrence of an option that has these names, long (``--until``) or short (``-U``)."""
    found = []
    for i, argument in enumerate(arguments):
        if argument in names:
            end = i + 1
            while end < len(arguments) and not arguments[end].startswith("-"):
                end += 1
            found.append(Option(i, tuple(arguments[i + 1 : end])))
        elif (value := _joined(argument, names)) is not None:
            found.append(Option(i, (value,), joined=True))
    return found


def _joined(argument: str, names: Sequence[str]) -> str | None:
    """Return the value behind one of ``names`` in the same argument: ``--until=a``, ``-U=a``, ``-Ua``."""
    name, equals, value = argument.partition("=")
    if equals and name in names:
        return value
    if argument.startswith("--"):
        return None
    short = next((name for name in names if not name.startswith("--") and argument.startswith(name)), None)
    return None if short is None else argument.removeprefix(short)
