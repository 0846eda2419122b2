"""Sources of structures in words: their kinds and how many of each."""

from collections import defaultdict
from collections.abc import Iterable

_CHECKSUM = " sha256:"


def format_sources(sources: Iterable[str]) -> list[str]:
    """Return each kind of source once: by its name, or with its number if it is made of files.

    ``["files a.cif sha256:1f…", "files b.cif sha256:2e…", "demo 1"]`` gives ``["files (2)", "demo 1"]``.

    Parameters
    ----------
    sources : column ``source`` of table ``structures``, without repetitions
    """
    by_kind: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        by_kind[source.split(" ", maxsplit=1)[0]].append(source)
    return [
        those[0] if len(those) == 1 and _CHECKSUM not in those[0] else f"{kind} ({len(those):,})"
        for kind, those in by_kind.items()
    ]
