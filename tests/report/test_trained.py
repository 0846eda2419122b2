"""The section of what was trained: there when something was, with numbers of the cards."""

import re
import shutil

import pytest

import pesatlas
from pesatlas.report.figure_names import FIGURES, TRAINED_FIGURES
from report_pages import built, data_of, page_of
from training import train


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
