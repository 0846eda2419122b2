"""Chunks of structures that fit into a given amount of memory or cache."""

from collections.abc import Iterable, Iterator


def chunks_by_atoms(n_atoms: Iterable[int], most: float) -> Iterator[range]:
    """Yield places in runs of at most ``most`` atoms, in their order.

    A structure with more is a run of its own.

    Parameters
    ----------
    n_atoms : numbers of atoms of the structures
    """
    start = stop = atoms = 0
    for n in n_atoms:
        if stop > start and atoms + n > most:
            yield range(start, stop)
            start, atoms = stop, 0
        stop, atoms = stop + 1, atoms + n
    if stop > start:
        yield range(start, stop)
