"""A finished campaign that is asked to benchmark its potential: nothing but that is done."""

import json
import shutil

from benchmarking import entry
from known_thermodynamics import LennardJones
from pesatlas.tables import read_table
from small_campaign import copy_of, jobs


def test_a_finished_campaign_benchmarks_its_potential_and_reports_it(tiny, tmp_path):
    benchmarking = copy_of(tiny, tmp_path / "benchmarking")
    numbers, cell, positions = LennardJones().crystal(1, 5.43)
    numbers[:] = 79  # any fcc metal will do
    gold = entry(
        "gold", (numbers, cell * 0.75, positions * 0.75), bulk_modulus_vrh=137.0, shear_modulus_vrh=19.0
    )
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "gold.json").write_text(json.dumps([gold]))
    properties = [{"kind": "elasticity", "file": "gold.json"}, {"kind": "softening", "frames": 2}]
    benchmarking.change(
        {"benchmark": {"data": str(tmp_path / "sets"), "properties": properties, "jobs_per_property": 2}}
    )
    asked = jobs(benchmarking.run("-n"))
    assert asked == {"fetch_benchmark": 1, "run_benchmark": 4, "score_benchmark": 1, "build_report": 1}
    benchmarking.run()
    rows = read_table(benchmarking.path / "results" / "benchmark" / "scores.parquet", "scores").to_pylist()
    (bulk,) = (row for row in rows if row["quantity"] == "bulk_modulus")
    assert bulk["structure_id"] == "gold"
    assert 80 < bulk["value"] < 200
    assert "How good are potentials?" in (benchmarking.path / "results" / "report.html").read_text()
    assert "Nothing to be done" in benchmarking.run("-n")
    shutil.rmtree(benchmarking.path / "results" / "benchmark")
    (benchmarking.path / "work" / "fetched" / "benchmark.txt").unlink()
    benchmarking.change({"benchmark": None})
    assert "benchmark" not in jobs(benchmarking.run("-n"))
