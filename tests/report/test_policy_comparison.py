"""The section of a comparison: there when policies were compared, with the numbers of its tables."""

import re
import shutil

import pytest

import pesatlas
from pesatlas.report.figure_names import COMPARED_FIGURES, FIGURES
from pesatlas.tables import write_table
from report_pages import built, data_of, page_of

MEANS = {("matpes", 1.0): 100.0, ("cover", 0.67): 90.0, ("cover", 1.0): 80.0}


@pytest.fixture(scope="module")
def compared(small, tmp_path_factory):
    """The small report once more, with a comparison."""
    results = tmp_path_factory.mktemp("compared") / "results"
    shutil.copytree(small.results, results)
    folder = results / "compare"
    runs, contrasts = [], []
    for (arm, share), mean in MEANS.items():
        about = {
            "arm": arm,
            "cost_share": share,
            "level": "pbe",
            "frames": "dynamics",
            "cost_atoms3": 1e4 * share,
        }
        runs += [
            about
            | {
                "seed": seed,
                "picks": 7,
                "test_frames": 9,
                "test_materials": 3,
                "force_mae_meV_per_A": mean + seed,
            }
            | {"energy_mae_meV_per_atom": 1.0, "stress_mae_GPa": 1.0}
            for seed in (0, 1)
        ]
        contrasts.append(
            about
            | {
                "error": "force_mae_meV_per_A",
                "mean": mean,
                "low": mean - 5,
                "high": mean + 5,
                "ratio": mean / 100,
            }
            | {
                "reference": "matpes at 1",
                "ratio_low": mean / 110,
                "ratio_high": mean / 99,
                "verdict": "lower",
            }
        )
    write_table(folder / "comparison.parquet", "comparison", runs, "test")
    write_table(folder / "contrasts.parquet", "contrasts", contrasts, "test")
    found = {
        "arm": "cover",
        "level": "pbe",
        "frames": "dynamics",
        "reference": "matpes at 1",
        "verdict": "better",
        "detectable_ratio": 0.88,
    }
    efficiency = [
        found
        | dict(zip(("error", "cost_ratio", "bound", "cost_ratio_low", "cost_ratio_high"), row, strict=True))
        for row in (
            ("force_mae_meV_per_A", 0.67, "<", None, 0.912),
            ("energy_mae_meV_per_atom", 0.8, "", 0.7, 0.9),
            ("stress_mae_GPa", 1.0, ">", 0.75, None),
            ("stress_mae_GPa", 1.0, ">", None, None),
        )
    ]
    write_table(folder / "efficiency.parquet", "efficiency", efficiency, "test")
    names = ("comparison", "contrasts", "efficiency")
    return built(results, **{name: [folder / f"{name}.parquet"] for name in names})


def test_it_is_there_only_if_policies_were_compared(small, compared):
    title = "Which selection teaches most?"
    assert title not in page_of(small).text
    assert title in page_of(compared).text
    assert {path.stem for path in compared.pictures.iterdir()} == {*FIGURES, *COMPARED_FIGURES}
    # the row that the comparison is made for
    assert re.search(
        r"cover\s+0.67\s+7\s+90 \(85 to 95\)\s+0.900 \(0.818 to 0.909\)\s+lower", page_of(compared).text
    )


def test_it_says_what_cost_the_same_error_takes_and_what_could_be_seen(compared):
    text = page_of(compared).text
    assert re.search(r"cover\s+<0.67 \(<0.91\)\s+matpes at 1\s+better\s+12 %", text)
    assert (
        "cover on dynamics: <0.67 (<0.91) of the cost of matpes at 1 for its error, better (the comparison "
        "could show differences of errors from 12 % on)"
    ) in text
    for words in (r"0.80 \(0.70 to 0.90\)", r">1.00 \(>0.75\)", r">1.00 \(any\)"):
        assert re.search(words, text)
    # the first policy is not compared with itself
    assert "matpes on dynamics" not in text


def test_its_query_gives_what_its_figure_shows(compared):
    (line,) = [line for line in page_of(compared).queries if "contrasts" in line]
    sql = re.fullmatch(r'pesatlas query "(.*)" --to \w+\.parquet', line)[1]
    rows = pesatlas.open(compared.results).query(sql.replace("results/", f"{compared.results}/")).to_pylist()
    shown = data_of(compared)["tables"]["contrasts"]
    assert {(row["arm"], row["cost_share"]): row["mean"] for row in rows} == MEANS
    assert dict(zip(zip(shown["arm"], shown["cost_share"], strict=True), shown["mean"], strict=True)) == MEANS
