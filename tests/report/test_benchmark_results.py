"""The section of the report about potentials, when there was a benchmark."""

import base64

import jinja2

from benchmarking import argon, measured
from known_thermodynamics import LennardJones
from pesatlas.benchmark.score import write_scores
from pesatlas.report.benchmark_results import benchmark_results
from pesatlas.report.rendering import PAGE, html_table


def test_without_a_benchmark_there_is_no_section(small):
    assert "Potentials by their uses" not in small.path.read_text()


def test_it_has_each_number_with_its_interval_and_what_was_published(tmp_path):
    rows = measured(LennardJones(), "elasticity", tmp_path, file=argon(tmp_path))
    other = [row | {"potential": "<b>other</b>", "error": row["error"] + 1} for row in rows]
    write_scores(rows + other, tmp_path / "benchmark")
    section = benchmark_results(tmp_path / "benchmark" / "summary.parquet")
    potentials, differences = section["tables"]
    first = dict(zip(potentials["heads"], potentials["rows"][-1], strict=True))
    assert first["potential"] == "analytic"
    assert "18: TensorNet-MatPES-PBE" in {row[-1].split(" (")[0] for row in potentials["rows"]}
    mean = sum(row["error"] for row in rows if row["quantity"] == "shear_modulus") / 6
    assert first["value (95 % interval)"].startswith(f"{mean:.3g} (")
    assert len(differences["rows"]) == 2
    picture = base64.b64decode(section["picture"].partition(",")[2])
    assert picture.startswith(b"<svg")
    template = (
        (PAGE / "report.html")
        .read_text()
        .split("{% if benchmark_results %}\n")[1]
        .split("{% endif %}\n{% if methods %}")[0]
    )
    page = (
        jinja2.Environment(autoescape=True)
        .from_string(template)
        .render(benchmark_results=section, table=html_table)
    )
    assert "<b>" not in page
    assert "&lt;b&gt;other" in page
