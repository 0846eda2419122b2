"""The verdict on trained potentials says what is better than before, and what is not."""

import json

import pytest

from pesatlas.report.trained import Trained
from pesatlas.tables import write_table

NAMES = ("energy_mae_meV_per_atom", "force_mae_meV_per_A", "stress_mae_GPa", "magmom_mae_muB")


def potential(folder, **errors):
    """A card with errors of energy, forces, stress on the split test."""
    folder.mkdir()
    scores = [
        {
            "group": "all",
            "split": "test",
            "of": of,
            "rows": 9,
            **dict(zip(NAMES, (*values, None), strict=True)),
        }
        for of, values in errors.items()
    ]
    (folder / "card.json").write_text(json.dumps({"name": "pbe-0", "scores": scores}))
    write_table(folder / "history.parquet", "history", [], "test")
    return Trained([folder]).verdict()


@pytest.mark.parametrize(
    ("errors", "mark", "said"),
    [
        (
            {"trained": (10.0, 50.0, 1.0), "means": (90.0, 200.0, 3.0)},
            "fine",
            "pbe-0: force error 50 meV/Å on the split test, 25 % of that without a model.",
        ),
        (
            {"trained": (10.0, 150.0, 5.0), "means": (90.0, 200.0, 3.0)},
            "look",
            "75 % of that without a model; not better than that: stress.",
        ),
        (
            {"trained": (99.0, 80.0, 1.0), "base": (90.0, 100.0, 2.0), "means": (200.0, 400.0, 9.0)},
            "look",
            "80 % of that of its base; not better than that: energy.",
        ),
    ],
)
def test_what_is_not_better_than_before_is_named(tmp_path, errors, mark, said):
    verdict = potential(tmp_path / "pbe-0", **errors)
    assert verdict.mark == mark
    assert said in verdict.sentence


def test_without_rows_kept_from_training_nothing_is_claimed(tmp_path):
    assert potential(tmp_path / "pbe-0").mark == "not known"
