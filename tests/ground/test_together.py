"""Structures that are evaluated together."""

from pesatlas.together import runs_of_atoms


def test_runs_respect_the_limit_and_keep_everything():
    sizes = [3, 3, 3, 50, 1, 1, 9]
    runs = [[sizes[i] for i in run] for run in runs_of_atoms(sizes, 10)]
    assert [n for run in runs for n in run] == sizes
    assert all(len(run) == 1 or sum(run) <= 10 for run in runs)
    assert len(runs) == 4


def test_nothing_makes_no_run():
    assert list(runs_of_atoms([], 10)) == []
