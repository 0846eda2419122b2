"""Tables that rot or go missing after a campaign has finished: the advice of every message, followed, gives
the same campaign."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pesatlas.campaign.layout import below, path_of
from pesatlas.campaign.load import read_campaign
from pesatlas.monitor.missing import missing_files
from pesatlas.tables import write_table
from small_campaign import copy_of, jobs

ROOT = Path(__file__).parents[2]
LEVELS = ("pbe", "r2scan")
# Where a message of these modules tells to delete something, and what that is in a finished campaign; None:
# what Snakemake asks for anyway, or what is no file of a campaign's results and has a test of its own.
ADVICE = {
    "tables/io.py": ["labels/00000.parquet", "structures.parquet"],
    "tables/arrays.py": ["select/pca.npz", "features/00000.moments.npz", "select/atoms.npz"],
    "tables/manifest.py": [
        "labels/00001.parquet",
        "selection.parquet",
        "labels/atoms.parquet",
        "select/candidates/00000.npy",
    ],
    "dataset/checksums.py": None,  # an export: test_whatever_a_message_tells..., test_advice.py
    "dataset/verify.py": ["labels/00000.parquet"],
    "select/clustering.py": ["select/grid/00000.structures.npz", "select/grid/00000.atoms.npz"],
    "select/expected_errors.py": ["select/calibration.parquet"],
    "select/pca.py": ["features/00000.moments.npz"],
    "select/shards.py": ["features/00000.parquet"],
    "select/candidates.py": ["select/clusters/00000.parquet"],
    "select/assign.py": ["select/atoms.npz", "select/structures.npz"],
    "encode/encode_shard.py": ["snapshots/00000.parquet"],
    "dataset/physics.py": None,  # manifest.json
    "campaign/finished.py": None,  # manifest.json
    "campaign/strain_test.py": None,  # campaign/test_strain_test.py
    "structures/sources/materials_project.py": None,  # test_a_cache_that_was_deleted...
    # said by rules that fetch, which have not come to their end then and are done again
    "benchmark/matcalc_sets.py": None,
    "potentials/hub.py": None,
}


def advice_in(path):
    """Whether a text in a module tells to delete or remove something."""
    texts = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
    said = "".join(text for text in texts if isinstance(text, str))
    return bool(re.search(r"(Delete|delete|remove|Remove) \S+( and \S+)?.{0,30}(run again|again)", said))


def test_every_message_that_tells_to_delete_something_is_known_here():
    source = ROOT / "src" / "pesatlas"
    found = {str(path.relative_to(source)) for path in source.rglob("*.py") if advice_in(path)}
    assert found <= set(ADVICE), "add what the new advice deletes, so that it is tried"


@pytest.fixture(scope="module")
def rotten(tiny, tmp_path_factory):
    return copy_of(tiny, tmp_path_factory.mktemp("rotten") / "campaign")


def test_whatever_a_message_tells_to_delete_is_missed(rotten, tmp_path):
    results = rotten.path / "results"
    campaign = read_campaign(rotten.path / "config.yaml")
    assert missing_files(rotten.path, campaign) == []
    for name in {name for names in ADVICE.values() if names for name in names if (results / name).exists()}:
        (results / name).rename(tmp_path / "aside")
        assert missing_files(rotten.path, campaign) == [Path("results") / name]
        (tmp_path / "aside").rename(results / name)
    (results / "features").rename(tmp_path / "features")
    assert {path.name for path in missing_files(rotten.path, campaign)} == {
        "00000.parquet",
        "00000.moments.npz",
    }
    (tmp_path / "features").rename(results / "features")
    file = next((results / "exports/matpes").glob("*.json.gz"))
    file.rename(tmp_path / "aside")
    assert missing_files(rotten.path, campaign) == [Path("results/exports/matpes/export.json")]
    (tmp_path / "aside").rename(file)
    # batches of an earlier configuration, of which only the entry is left, are nobody's
    shutil.copy(
        results / "labels/00000.parquet.manifest.json", results / "labels/00077.parquet.manifest.json"
    )
    assert missing_files(rotten.path, campaign) == []
    (results / "labels/00077.parquet.manifest.json").unlink()


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def verify(folder):
    command = [sys.executable, "-m", "pesatlas.cli.main", "verify"]
    return subprocess.run(command, cwd=folder.path, capture_output=True, text=True, check=False)


def assert_whole(folder, tiny):
    """Check a mended campaign: `verify` objects to nothing, and its datasets are those of the undamaged
    one."""
    assert verify(folder).returncode == 0
    for level in LEVELS:
        assert folder.dataset(level) == tiny.dataset(level)


def test_the_advice_of_verify_followed_gives_the_same_campaign(tiny, tmp_path):
    """One bit of every table, and of no array, for those are not in the manifest; arrays go missing by
    themselves."""
    folder = copy_of(tiny, tmp_path / "campaign")
    results = folder.path / "results"
    tables = sorted(results.rglob("*.parquet"))
    tables = [path for path in tables if path.parent.name != "report"]
    for path in tables:
        flip(path)
    said = verify(folder)
    assert said.returncode == 1
    told = re.findall(r"WRONG  (\S+): .*Delete it and run again", said.stderr)
    assert sorted(folder.path / name for name in told) == tables
    for name in told:
        (folder.path / name).unlink()
    for path in results.rglob("*.npz"):
        path.unlink()
    planned = jobs(folder.run("-n"))
    assert {"prepare_structures", "label_batch", "fit_pca"} <= planned.keys()
    output = folder.run()
    assert "Missing files are made again" in output
    assert_whole(folder, tiny)
    assert "Nothing to be done" in folder.run()


def test_one_deleted_table_of_labels_is_made_again_and_what_follows_from_it(tiny, tmp_path):
    folder = copy_of(tiny, tmp_path / "campaign")
    path = folder.path / path_of("labels", batch=0)
    path.unlink()
    planned = jobs(folder.run("-n"))
    assert planned["label_batch"] == 1
    assert planned["collect_dataset"] == 1
    assert "run_md" not in planned
    folder.run()
    assert path.exists()
    assert_whole(folder, tiny)


def test_a_run_of_one_file_makes_no_other_that_is_missing(tiny, tmp_path):
    folder = copy_of(tiny, tmp_path / "campaign")
    results = folder.path / "results"
    first, second, parity = (
        results / name for name in ("labels/00000.parquet", "labels/00001.parquet", "report/parity.parquet")
    )
    for path in (first, second, parity):
        path.unlink()
    assert jobs(folder.run("-n", "results/labels/00000.parquet")) == {"label_batch": 1}
    assert jobs(folder.run("-n", "-R", "fit_pca"))["label_batch"] == 2
    said = folder.run("results/labels/00000.parquet")
    assert re.findall(r"Rule: (\w+)", said) == ["label_batch"]
    told = "Missing files are made again (1): results/labels/00000.parquet"
    assert told in " ".join(said.split())
    assert (first.exists(), second.exists(), parity.exists()) == (True, False, False)
    assert "Missing still: results/labels/00001.parquet" in said
    # snapshots are needed for the selection, the report is not
    below(results, "snapshots", batch=0).unlink()
    planned = jobs(folder.run("-n", "results/selection.parquet"))
    assert planned["run_md"] == planned["pick_snapshots"] == 1
    assert not planned.keys() & {"label_batch", "evaluate_potential", "collect_dataset"}


def test_what_is_missing_is_made_again_as_far_as_until_goes_and_once(tiny, tmp_path):
    folder = copy_of(tiny, tmp_path / "campaign")
    results = folder.path / "results"
    labels, snapshots, structures = (
        results / name for name in ("labels/00000.parquet", "snapshots/00000.parquet", "structures.parquet")
    )
    labels.unlink()
    assert "Nothing to be done" in folder.run("-n", "--until", "run_md")
    snapshots.unlink()
    assert jobs(folder.run("-n", "--until", "run_md")) == {"run_md": 1}
    # labels need everything behind the snapshots
    planned = jobs(folder.run("-n", "--until", "label_batch"))
    assert planned["run_md"] == planned["fit_pca"] == 1
    assert planned["label_batch"] == 2
    assert "collect_dataset" not in planned
    # without structures it is not known any more what snapshots there are: a run in two parts
    structures.unlink()
    said = " ".join(folder.run("-n", "--until", "run_md").split())
    assert "Jobs of run_md are known only after the structures are prepared." in said
    assert "prepare_structures 1" in said
    assert not structures.exists()
    said = folder.run("--until", "run_md")
    assert "are made again as far as --until goes" in " ".join(said.split())
    assert structures.exists()
    assert snapshots.exists()
    assert not labels.exists()
    assert re.findall(r"Rule: (\w+)", said) == ["prepare_structures", "run_md"]
    assert "Nothing to be done" in folder.run("--until", "run_md")
    folder.run()
    assert_whole(folder, tiny)


@pytest.mark.first
def test_a_rotten_table_stops_the_job_that_reads_it_and_its_advice_works(tiny, tmp_path):
    """The rules of the dataset are changed, so that labels are read again."""
    folder = copy_of(tiny, tmp_path / "campaign")
    folder.change({"dataset.split.valid": 0.2})
    flip(folder.path / path_of("labels", batch=1))
    output = folder.run(expect=1)
    (name,) = set(re.findall(r"(\S+): its content differs .* Delete it and run again", output))
    assert name == "results/labels/00001.parquet"
    (folder.path / name).unlink()
    folder.run()
    assert verify(folder).returncode == 0


def test_a_cache_that_was_deleted_before_it_was_read_is_fetched_again(tmp_path):
    configuration = (ROOT / "config" / "matpes.yaml").read_text()
    (tmp_path / "config.yaml").write_text(configuration)
    campaign = read_campaign(tmp_path / "config.yaml", extensions=False)
    (cache,) = (source.cache for source in campaign.structures.sources if getattr(source, "cache", None))
    done = tmp_path / "work/fetched/structures.txt"
    done.parent.mkdir(parents=True)
    (tmp_path / cache).parent.mkdir(parents=True, exist_ok=True)
    assert missing_files(tmp_path, campaign) == []
    done.touch()
    (tmp_path / cache).touch()
    assert missing_files(tmp_path, campaign) == []
    (tmp_path / cache).unlink()
    assert missing_files(tmp_path, campaign) == [Path("work/fetched/structures.txt")]
    # once structures are there, nobody needs the cache
    write_table(tmp_path / path_of("structures"), "structures", [], "test", {"batches": 0})
    assert missing_files(tmp_path, campaign) == []
