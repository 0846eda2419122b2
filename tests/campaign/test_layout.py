"""The layout is the one place that knows the paths of a campaign: rules write those, and nobody else spells
them."""

import ast
import json
import re
from pathlib import Path

import pytest
import yaml
from snakemake.api import SnakemakeApi
from snakemake.settings.types import OutputSettings, ResourceSettings

from pesatlas.campaign import layout
from pesatlas.campaign.rules import RULES
from pesatlas.tables import write_table
from small_campaign import ROOT

VALUES = {
    "batch": "00012",
    "group": "00003",
    "level": "pbe",
    "seed": "7",
    "policy": "cover",
    "share": "0.5",
    "format": "mace",
    "potential": "my-own-2",
    "property": "elasticity",
    "figure": "hours",
}
EVERYTHING = {
    "train": {},
    "compare": {"policies": [{"kind": "cover"}, {"kind": "random"}]},
    "benchmark": {},
}
ROUND = {
    "number": 2,
    "previous": "before",
    "committee": [{"kind": "chgnet", "version": "0.3.0"}, {"kind": "chgnet", "version": "0.2.0"}],
}
# Files in a potential's folder have the names that matgl.load_model asks for; it writes them itself.
OF_MATGL = {"model.json", "model.pt", "state.pt"}
# What has the name of a path of results and is none, or is said to people by those who may not know the
# layout.
ELSEWHERE = {
    "cli/gaps.py": {"structures.parquet"},  # a folder of its own
    "select/comparison_picks.py": {"selection.parquet"},  # a temporary folder for each arm
    "report/rendering.py": {"report.html"},  # the template of the page
    "benchmark/measure.py": {"benchmark"},  # a folder of the store
    "train/training.py": {"potentials"},  # a folder of the store
    "monitor/rates.py": {"labels"},  # a folder of the store
    "testing/selecting.py": {"calibration.parquet", "selection.parquet"},  # a folder of a test
    "testing/properties.py": {"dataset.parquet"},  # a folder of a test
    "config/round.py": {"manifest.json"},  # the configuration lies below the layout
    "tables/describe.py": {"results/selection.parquet"},  # the ground lies below the layout
}

# Benchmarks of one stage, whose tables lie side by side in a folder without a campaign; help, and what is no
# path of results.
FOLDERS_OF_THEIR_OWN = {
    "adaptive.py": {"features", "snapshots", "structures.parquet"},
    "adaptive_budget.py": {"features"},
    "adaptive_recording.py": {"failures", "features", "snapshots", "structures.parquet"},
    "curves_policies.py": {"calibration.parquet"},
    "direct.py": {"pca.npz"},
    "growth.py": {"benchmark/1", "pca.npz", "selection.parquet"},
    "label_overhead.py": {"selection.parquet"},
    "pick.py": {"atoms.npz"},
    "potentials.py": {"differences.parquet"},  # of the command, wherever it writes
    "report.py": {"report.html"},
    "rounds.py": {"explored"},  # a file that says so
    "store.py": {"labels"},  # a folder of the store
    "structures.py": {"structures.parquet"},
}


def filled(template):
    # Snakemake puts a wildcard's pattern beside its name
    return re.sub(r"{(\w+)(,([^{}]|{\d})*)?}", lambda found: VALUES[found[1]], template)


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """Every rule that there can be, as Snakemake reads it."""
    found = {}
    for name, added in {"all": EVERYTHING, "round": {"round": ROUND}}.items():
        folder = tmp_path_factory.mktemp(name)
        raw = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text()) | added
        raw["explore"]["stop"] = {"kind": "saturated", "min_length_ps": 0.2}
        (folder / "config.yaml").write_text(yaml.safe_dump(raw))
        before = folder / "before" / "results"
        before.mkdir(parents=True)
        manifest = {"campaign": "a", "files": [], "levels": ["pbe"], "label_batches": 0, "configuration": {}}
        (before / "manifest.json").write_text(json.dumps(manifest))
        (before / "dataset" / "pbe").mkdir(parents=True)
        (before / "dataset" / "pbe" / "part-00000.parquet").touch()
        with SnakemakeApi(OutputSettings()) as api:
            workflow = api.workflow(
                resource_settings=ResourceSettings(), snakefile=ROOT / "Snakefile", workdir=folder
            )
            found |= {rule.name: rule for rule in workflow._workflow.rules if rule.name != "all"}
    return found


def test_rules_write_what_the_layout_says(rules):
    assert set(rules) == set(layout.PATHS)
    for name, rule in rules.items():
        outputs = [layout.output_of(filled(str(path))) for path in rule.output]
        assert None not in outputs, name
        written = {output.name for output in outputs}
        # the selection of a comparison is picked by another rule
        assert written == set(layout.PATHS[name]), name
        assert [filled(str(path)) for path in rule.log] == [filled(layout.log_of(name))]
        assert rule.benchmark is None or filled(str(rule.benchmark)) == filled(layout.times_of(name))
        if name in layout.WORK:
            assert rule.params["work"] == layout.WORK[name]


def test_the_dataset_and_the_report_are_made_of_what_their_rules_declare(rules, tmp_path):
    write_table(tmp_path / "structures.parquet", "structures", [], "test", {"batches": 17})
    files = layout.Results(tmp_path, 2, ("pbe", "r2scan")).files
    assert [len(files[name]) for name in ("snapshots", "clusters", "labels", "dataset")] == [17, 2, 2, 2]
    collect = rules["collect_dataset"]
    assert {*collect.input.keys(), *collect.output.keys()} == files.keys()
    report = rules["build_report"]
    read = {"manifest", "structures", "snapshots", "clusters", "selection", "quality", "atoms", "labels"}
    added = {"parity", "calibration", "advice", "potential_card", "benchmark_summary"}
    assert {*report.input.keys()} == {
        *(read | added | {"dataset", "quarantine", "failures", "explore_failures"}),
        *("comparison", "contrasts", "efficiency", "frames_before", "clusters_before"),
    }


class Batch(dict):
    """Wildcards of a job, as Snakemake gives them to functions: attributes, and keys."""

    batch = property(lambda self: self["batch"])


def test_encode_takes_the_features_that_exploration_kept(rules):
    (kept,) = [each for each in rules["encode_snapshots"].input if callable(each)]
    assert kept(Batch({"batch": "00012"})) == ["results/explored/00012.features.parquet"]
    # frames that are labelled already were never explored
    assert kept(Batch({"batch": "reference"})) == []


def test_every_rule_belongs_to_a_stage():
    # frames that are labelled already are no stage of a campaign
    assert {rule for rules in RULES.values() for rule in rules} | {"read_reference"} == set(layout.PATHS)


def test_the_rule_of_a_path_is_found_from_its_template():
    for output in layout.all_paths():
        text = filled(layout.path_of(output.name))
        found = layout.output_of(text)
        # of the two rules that may pick, the one of most campaigns
        rule = "pick_snapshots" if output.name == "selection" else output.rule
        assert (found.rule, found.name) == (rule, output.name)
        assert layout.path_of(output.name, **found.wildcards) == text
        inside = text.removeprefix("results/")
        assert layout.below(Path("there"), output.name, **found.wildcards) == Path("there") / inside


def test_a_job_is_done_when_the_first_path_of_its_rule_is_there():
    for rule, paths in layout.PATHS.items():
        job = filled(layout.JOBS.get(rule, ""))
        assert layout.done_by(rule, job) == filled(next(iter(paths.values())))
        assert layout.log_of(rule, job) == filled(layout.log_of(rule))
        assert layout.done_by(rule, "" if job else "00000") is None


def test_paths_of_nobody_have_no_rule():
    for path in (
        "results/snapshots/12.parquet",
        "results/selection.parquet.manifest.json",
        "selection.parquet",
    ):
        assert layout.output_of(path) is None
    assert layout.done_by("no_rule") is None


def test_frames_that_are_labelled_already_are_a_batch_of_their_own():
    assert layout.output_of("results/snapshots/reference.parquet").rule == "read_reference"
    assert layout.output_of("results/features/reference.parquet").wildcards == {"batch": "reference"}


def literals(path):
    """Strings of a module that are no docstrings, with whether a path is divided by them."""
    tree = ast.parse(path.read_text())
    docs = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    divided = {
        id(node.right)
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value, id(node) in divided


def spelled(path):
    """Words in the literals of a module that name files or folders of results."""
    templates = [layout.within(output.name) for output in layout.all_paths()]
    files = {Path(template).name for template in templates if "{" not in Path(template).name} - OF_MATGL
    folders = {template.partition("{")[0].rpartition("/")[0] for template in templates} - {"", "work/fetched"}
    tops = {folder.partition("/")[0] for folder in folders} | {layout.RESULTS}
    starts = (
        *(f"{layout.RESULTS}/{top}" for top in tops),
        *(f"{folder}/" for folder in folders),
        "work/fetched",
        *layout.WORK.values(),
    )
    for text, divided in literals(path):
        words = [word.rstrip(".") for word in re.split(r"[\s'\"`,:;()]+", text) if word]
        yield from (word for word in words if Path(word).name in files or word.startswith(starts))
        if divided and text in tops:
            yield text


SOURCE = ROOT / "src" / "pesatlas"
MODULES = [path for path in SOURCE.rglob("*.py") if path.name != "layout.py"]


def test_nobody_else_spells_a_path_of_results():
    assert len(MODULES) > 300
    found = {path.relative_to(SOURCE).as_posix(): set(spelled(path)) for path in MODULES}
    assert {name: texts for name, texts in found.items() if texts - ELSEWHERE.get(name, set())} == {}
    # no exception outlives its reason
    assert {name for name, texts in ELSEWHERE.items() if not texts <= found[name]} == set()
    assert [path.name for path in (ROOT / "scripts").glob("*.py") if list(spelled(path))] == []


def test_no_benchmark_spells_a_path_of_results():
    found = {path.name: set(spelled(path)) for path in (ROOT / "benchmarks").glob("*.py")}
    assert {name: texts - FOLDERS_OF_THEIR_OWN.get(name, set()) for name, texts in found.items()} == {
        name: set() for name in found
    }
    assert {name for name, texts in FOLDERS_OF_THEIR_OWN.items() if not texts <= found[name]} == set()


def test_the_page_of_the_report_spells_no_path():
    assert "results/" not in (ROOT / "src" / "pesatlas" / "report" / "page" / "report.html").read_text()


def test_the_rules_spell_no_path():
    for path in (ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")):
        text = path.read_text()
        assert not re.search(r"[\"'](results|work|logs)/", text), path
