"""The section of what was trained: there when something was, with numbers of the cards."""

import json
import re
import shutil

import pytest

import pesatlas
from pesatlas.report.figure_names import FIGURES, TRAINED_FIGURES
from pesatlas.report.trained import Trained
from pesatlas.tables import write_table
from report_pages import built, data_of, page_of
from training import train

NAMES = ("energy_mae_meV_per_atom", "force_mae_meV_per_A", "stress_mae_GPa", "magmom_mae_muB")


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """The small report once more, with a potential."""
    folder = tmp_path_factory.mktemp("trained")
    results = folder / "results"
    shutil.copytree(small.results, results)
    potential = train(folder / "elsewhere", epochs=2)
    shutil.copytree(potential, results / "potentials" / "pbe-3")
    return built(results, potential_card=[results / "potentials" / "pbe-3" / "card.json"])


def test_it_is_there_only_if_something_was_trained(small, trained):
    title = "What can be trained on it?"
    assert title not in page_of(small).text
    assert title in page_of(trained).text
    assert {path.stem for path in trained.pictures.iterdir()} == {*FIGURES, *TRAINED_FIGURES}


def test_its_queries_give_what_its_figures_show(trained):
    atlas = pesatlas.open(trained.results)
    found = {}
    for line in page_of(trained).queries[-len(TRAINED_FIGURES) :]:
        sql, name = re.fullmatch(r'pesatlas query "(.*)" --to (\w+)\.parquet', line).groups()
        found[name] = atlas.query(sql.replace("results/", f"{trained.results}/")).to_pylist()
    shown = data_of(trained)["tables"]
    assert [row["valid_loss"] for row in found["learning"]] == pytest.approx(
        shown["learning"]["loss"][2:], rel=1e-4
    )
    test = [row for row in found["trained_errors"] if row["split"] == "test" and row["group"] == "all"]
    assert {row["of"] for row in test} == {"trained", "untrained", "means"}
    table = shown["trained_errors"]
    forces = {
        of: error
        for of, split, what, error in zip(
            table["of"], table["split"], table["what"], table["error"], strict=True
        )
        if split == "test" and what == "forces (meV/Å)"
    }
    (own,) = [row["force_mae_meV_per_A"] for row in test if row["of"] == "trained"]
    assert forces["trained"] == pytest.approx(own, rel=1e-4)


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
