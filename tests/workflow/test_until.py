"""``pesatlas run --until RULE`` runs what it names, in a new folder too, or says that there is nothing to
run: never success with nothing made."""

import subprocess
import sys

import pytest

from pesatlas.cli.until import BEHIND_IT, first_part, until_of
from small_campaign import ROOT, TINY, SmallCampaign, jobs

FIRST = {"fetch_structures", "fetch_potential", "prepare_structures"}


class Folder(SmallCampaign):
    def pesatlas(self, *arguments, expect=0):
        command = [sys.executable, "-m", "pesatlas.cli.main", "run", *arguments]
        done = subprocess.run(
            command, cwd=self.path, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def files(self):
        return {
            p.relative_to(self.path / "results").as_posix() for p in self.path.glob("results/**/*.parquet")
        }

    def rules(self):
        """Rules of all jobs, as Snakemake knows them now."""
        command = [sys.executable, "-m", "snakemake", "--profile", str(ROOT / "profiles/local")]
        command += ["--snakefile", str(ROOT / "Snakefile"), "--summary"]
        done = subprocess.run(command, cwd=self.path, capture_output=True, text=True, timeout=300, check=True)
        return {line.split("\t")[2] for line in done.stdout.splitlines() if "\t" in line} - {"rule"}


@pytest.fixture
def new(tmp_path):
    """A folder with nothing but a configuration."""
    return Folder(tmp_path / "new", TINY)


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """A folder that was new, after a run until run_md."""
    folder = Folder(tmp_path_factory.mktemp("until") / "explored", TINY)
    folder.before = folder.rules()
    folder.pesatlas("--until", "run_md")
    return folder


def test_dynamics_are_run_in_a_new_folder_and_nothing_after_them(explored):
    assert "snapshots/00000.parquet" in explored.files()
    assert not [name for name in explored.files() if name.startswith(("features", "select", "labels"))]


def test_the_rules_behind_the_checkpoint_are_all_that_snakemake_does_not_know_at_first(explored):
    assert explored.rules() - explored.before == BEHIND_IT - {
        "measure_disagreement"
    }  # which is in rounds alone


def test_once_structures_are_prepared_a_dry_run_shows_the_jobs_of_these_rules(explored):
    for rule in sorted(BEHIND_IT - {"measure_disagreement"}):
        found = jobs(explored.pesatlas("-n", "--until", rule))
        assert rule in found or rule == "run_md"  # which has run
        assert not found.keys() & FIRST
    assert "Nothing to be done" in explored.pesatlas("-n", "--until", "run_md")


@pytest.mark.parametrize("rule", sorted(BEHIND_IT - {"measure_disagreement"}))
def test_a_dry_run_in_a_new_folder_shows_what_comes_first_and_says_so(new, rule):
    said = " ".join(new.pesatlas("-n", "--until", rule).split())
    assert f"Jobs of {rule} are known only after the structures are prepared." in said
    assert "prepare_structures 1" in said
    assert not new.files()


@pytest.mark.parametrize("rule", ["label_batch", "fit_pca"])
def test_rules_that_snakemake_knows_are_left_to_it(new, rule):
    found = jobs(new.pesatlas("-n", f"--until={rule}"))
    assert rule in found
    assert "write_card" not in found


def test_the_name_of_a_stage_is_answered_with_its_rules(new):
    said = " ".join(new.pesatlas("-n", "--until", "label", expect=1).split())
    assert "--until label: this is a stage. Name one of its rules: label_batch." in said


@pytest.mark.parametrize("rule", ["train_potential", "score_benchmark", "read_reference"])
@pytest.mark.parametrize("dry", [[], ["-n"]])
def test_a_rule_without_a_job_in_this_campaign_is_an_error_that_names_those_with_jobs(new, rule, dry):
    said = " ".join(new.pesatlas(*dry, "--until", rule, expect=1).split())
    assert f"--until {rule}: this campaign has no job of that rule" in said
    assert "run_md" in said
    assert not new.files()


def test_a_name_that_is_no_rule_is_an_error(new):
    new.pesatlas("--until", "run_dynamics", expect=1)


def test_the_values_of_the_option_are_found_however_they_are_written():
    arguments = ["--until", "run_md", "fit_pca", "-n", "--until=a", "-U", "b", "--cores", "2"]
    assert until_of(arguments) == ["run_md", "fit_pca", "a", "b"]
    assert first_part(arguments) == [
        *("--until", "prepare_structures", "prepare_structures", "-n", "--until", "prepare_structures"),
        *("-U", "prepare_structures", "--cores", "2"),
    ]
    assert until_of(["results/card.json", "-n"]) == []
