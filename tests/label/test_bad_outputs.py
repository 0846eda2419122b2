"""No error of reading one calculation's outputs leaves its label, whatever the backend: it is a failure row,
the others go on."""

from itertools import cycle

import numpy as np
import pytest

from labelling import label_atoms_of, label_batch_of
from pesatlas.errors import UserError
from pesatlas.tables import read_table, write_table

ERRORS = [
    IndexError("list index out of range"),
    KeyError("e_0_energy"),
    ValueError("could not convert string to float: '*****'"),
    ZeroDivisionError("float division by zero"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    AssertionError(),
    RecursionError("maximum recursion depth exceeded"),
    np.linalg.LinAlgError("Singular matrix"),
    type("ParserError", (Exception,), {})("torn " * 1000),
]


@pytest.fixture
def raising(double, monkeypatch):
    """Let the backend raise at r2SCAN, after it calculated; returns the function that sets what.

    Of several errors each calculation at r2SCAN has the next.
    """
    original = double.calculate

    def raise_(*errors):
        turns = cycle(errors)

        def calculate(task, options, place):
            outcome = original(task, options, place)
            if task.level.name == "r2scan":
                raise next(turns)
            return outcome

        monkeypatch.setattr(double, "calculate", calculate)

    return raise_


@pytest.fixture
def batch(campaign, select, tmp_path):
    def run(*xs):
        names = [tmp_path / "labels.parquet", tmp_path / "failures.parquet"]
        label_batch_of(campaign, 0, select(*xs), *names, tmp_path / "work")
        tables = ("labels", "failures")
        return [read_table(path, table).to_pylist() for path, table in zip(names, tables, strict=True)]

    return run


@pytest.fixture
def atoms(campaign, tmp_path):
    def run():
        row = {
            "structure_id": "a",
            "variant": "unit",
            "domain": "bulk",
            "n_atoms": 2,
            "numbers": [8, 12],
            "cell_A": [5.0, 0, 0, 0, 5.0, 0, 0, 0, 5.0],
            "positions_A": [0.0, 0, 0, 1, 1, 1],
            "formula": "x",
            "conditions": [],
            "batch": 0,
            "warnings": [],
            "source": "s",
            "code_version": "0",
        }
        names = [tmp_path / f"{name}.parquet" for name in ("structures", "atoms", "failures")]
        write_table(names[0], "structures", [row], "s")
        label_atoms_of(campaign, *names, tmp_path / "work")
        tables = ("atoms", "failures")
        return [read_table(path, table).to_pylist() for path, table in zip(names[1:], tables, strict=True)]

    return run


def test_an_error_of_reading_is_a_failure_row_and_costs_no_other(raising, batch, atoms):
    raising(*ERRORS)
    # a snapshot for each error, and isolated atoms of two elements for the first two
    for (rows, failures), errors in (
        (batch(*(3.0 + 0.1 * i for i in range(len(ERRORS)))), ERRORS),
        (atoms(), ERRORS[:2]),
    ):
        assert [row["level"] for row in rows] == ["pbe"] * len(errors)
        assert [row["level"] for row in failures] == ["r2scan"] * len(errors)
        for row in failures:
            assert (row["reason"], row["attempts"]) == ("bad_output", 1)
            assert len(row["detail"]) < 400
        said = sorted(row["detail"][:40] for row in failures)
        assert said == sorted(f"{type(error).__name__}: {error}"[:40] for error in errors)


def test_a_bad_output_is_not_calculated_again(raising, batch, double):
    raising(IndexError("list index out of range"))
    first = batch(3.0)
    assert batch(3.0) == first
    assert double.count() == 2


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (
            OSError(28, "No space left on device", "/somewhere/WAVECAR"),
            "crashed",
            "No space left on device (WAVECAR)",
        ),
        (MemoryError(), "out_of_memory", "memory was used up"),
    ],
)
def test_what_the_machine_did_is_tried_again(raising, batch, error, reason, detail):
    raising(error)
    rows, failures = batch(3.0)
    assert [row["level"] for row in rows] == ["pbe"]
    assert [(row["reason"], row["attempts"]) for row in failures] == [(reason, 2)]
    assert detail in failures[0]["detail"]


@pytest.mark.parametrize(
    "error", [UserError("another POTCAR"), ImportError("no custodian"), KeyboardInterrupt()]
)
def test_what_a_person_has_to_mend_or_wants_ends_the_job(raising, batch, atoms, error):
    raising(error)
    for run in (lambda: batch(3.0), atoms):
        with pytest.raises(type(error)):
            run()
