"""Structures that are evaluated together."""

from pesatlas.potentials.chunks import chunks_by_atoms


def test_runs_respect_the_limit_and_keep_everything():
    sizes = [3, 3, 3, 50, 1, 1, 9]
    runs = [[sizes[i] for i in run] for run in chunks_by_atoms(sizes, 10)]
    assert [n for run in runs for n in run] == sizes
    assert all(len(run) == 1 or sum(run) <= 10 for run in runs)
    assert len(runs) == 4


def test_nothing_makes_no_run():
    assert list(chunks_by_atoms([], 10)) == []
