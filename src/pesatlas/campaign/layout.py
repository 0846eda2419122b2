"""Layout of a campaign: paths of every rule below ``results/`` and ``work/``, and logs of its jobs.

Rules, monitor, dataset, report, commands and benchmarks take every path from here: renaming a file is an edit
of ``PATHS``.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from pesatlas.tables import read_entry

RESULTS = "results"
"""Folder of the results, as seen from the campaign's folder."""
FAILURES = "failures"
"""Folder of all tables of failures below the results."""
REFERENCE = "reference"
"""Batch and group of frames that are labelled already: ``select.reference`` and the rounds before."""
BATCHES_IN_GROUP = 16
"""Batches of explore that one job of select reads.

It takes minutes for each, and the largest campaign has 24 groups.
"""
WILDCARDS = {
    "batch": rf"\d{{5}}|{REFERENCE}",
    "group": rf"\d{{5}}|{REFERENCE}",
    "seed": r"\d+",
    "share": r"[\d.]+",
    "property": r"\w+",
    "format": r"\w+",
}
"""Patterns of the wildcards; of those that are not here, anything without a slash."""

TIMES = "logs/*.benchmark.tsv"
"""Tables of times and memory that Snakemake measured, as a pattern for messages."""

PATHS: Mapping[str, Mapping[str, str]] = {
    "fetch_structures": {"structures_fetched": "work/fetched/structures.txt"},
    "fetch_potential": {"potential_fetched": "work/fetched/potential.txt"},
    "fetch_base": {"base_fetched": "work/fetched/base.txt"},
    "fetch_benchmark": {"benchmark_fetched": "work/fetched/benchmark.txt"},
    "prepare_structures": {
        "structures": "results/structures.parquet",
        "structure_failures": "results/failures/structures.parquet",
    },
    "read_reference": {
        "reference_snapshots": "results/snapshots/reference.parquet",
        "reference_failures": "results/failures/reference.parquet",
    },
    "run_md": {
        "snapshots": "results/snapshots/{batch}.parquet",
        "explore_failures": "results/failures/explore/{batch}.parquet",
        # of trajectories that end when they are saturated
        "trajectories": "results/explored/{batch}.trajectories.parquet",
        "explored_features": "results/explored/{batch}.features.parquet",
    },
    "encode_snapshots": {
        "features": "results/features/{batch}.parquet",
        "moments": "results/features/{batch}.moments.npz",
    },
    "fit_pca": {"pca": "results/select/pca.npz"},
    "grid_structures": {"structure_grid": "results/select/grid/{group}.structures.npz"},
    "cluster_structures": {"structure_centres": "results/select/structures.npz"},
    "grid_atoms": {"atom_grid": "results/select/grid/{group}.atoms.npz"},
    "cluster_atoms": {"atom_centres": "results/select/atoms.npz"},
    "reduce_frames": {
        "candidates": "results/select/candidates/{group}.parquet",
        "geometries": "results/select/candidates/{group}.npy",
        "clusters": "results/select/clusters/{group}.parquet",
        "drawn": "results/select/drawn/{group}.npz",
    },
    "pick_snapshots": {"selection": "results/selection.parquet"},
    "measure_selection": {"quality": "results/select/quality.parquet"},
    "label_atoms": {
        "atoms": "results/labels/atoms.parquet",
        "atom_failures": "results/failures/atoms.parquet",
    },
    "label_batch": {
        "labels": "results/labels/{batch}.parquet",
        "label_failures": "results/failures/label/{batch}.parquet",
    },
    "collect_dataset": {
        "manifest": "results/manifest.json",
        "dataset": "results/dataset/{level}/part-00000.parquet",
        "quarantine": "results/quarantine/{level}.parquet",
        "dataset_failures": "results/failures/dataset.parquet",
    },
    "write_card": {
        "card": "results/card.json",
        "card_page": "results/card.md",
        "citation": "results/CITATION.cff",
        "crate": "results/ro-crate-metadata.json",
    },
    "export_dataset": {"export": "results/exports/{format}/export.json"},
    # what matgl.load_model takes, and what is beside it
    "train_potential": {
        "potential_card": "results/potentials/{level}-{seed}/card.json",
        "potential_page": "results/potentials/{level}-{seed}/card.md",
        "potential_history": "results/potentials/{level}-{seed}/history.parquet",
        "potential_model": "results/potentials/{level}-{seed}/model.json",
        "potential_weights": "results/potentials/{level}-{seed}/model.pt",
        "potential_state": "results/potentials/{level}-{seed}/state.pt",
    },
    "pick_arms": {
        "arms": "results/compare/arms.parquet",
        "selection": "results/selection.parquet",
    },
    "train_arm": {
        "arm_errors": "results/compare/{policy}-{share}-{seed}/errors.parquet",
        "arm_card": "results/compare/{policy}-{share}-{seed}/card.json",
        "arm_page": "results/compare/{policy}-{share}-{seed}/card.md",
        "arm_history": "results/compare/{policy}-{share}-{seed}/history.parquet",
        "arm_model": "results/compare/{policy}-{share}-{seed}/model.json",
        "arm_weights": "results/compare/{policy}-{share}-{seed}/model.pt",
        "arm_state": "results/compare/{policy}-{share}-{seed}/state.pt",
    },
    "compare_arms": {
        "contrasts": "results/compare/contrasts.parquet",
        "comparison": "results/compare/comparison.parquet",
        "efficiency": "results/compare/efficiency.parquet",
    },
    "run_benchmark": {"benchmark_shard": "results/benchmark/scores/{potential}/{property}/{batch}.parquet"},
    "score_benchmark": {
        "benchmark_summary": "results/benchmark/summary.parquet",
        "benchmark_scores": "results/benchmark/scores.parquet",
        "benchmark_differences": "results/benchmark/differences.parquet",
        "benchmark_figure": "results/benchmark/figure.svg",
    },
    "calibrate_disagreement": {"calibration": "results/select/calibration.parquet"},
    "measure_disagreement": {"disagreement": "results/select/disagreement/{group}.parquet"},
    "advise_round": {"advice": "results/advice.json"},
    "evaluate_potential": {"parity": "results/report/parity.parquet"},
    "build_report": {
        "report": "results/report.html",
        "figure": "results/figures/{figure}.png",
    },
}
"""Paths that each rule writes, as seen from the campaign's folder, each by a name of its own.

The first path of a rule is there once its job is done. The selection has two rules; ``pick_arms`` takes the
place of ``pick_snapshots`` in a comparison.
"""

OF_COMMANDS: Mapping[str, str] = {
    "convergence": "results/convergence/{level}.parquet",
    "convergence_figure": "results/convergence/{level}.svg",
    "report_so_far": "results/report-unfinished.html",
    "strain": "results/strain/{level}-{fingerprint}.json",
    "validation": "results/validation/{potential}-{level}/frames.parquet",
    "validation_summary": "results/validation/{potential}-{level}/summary.parquet",
}
"""Paths that commands write and no rule does: a campaign is whole without them."""

JOBS = {
    "run_md": "{batch}",
    "encode_snapshots": "{batch}",
    "grid_structures": "{group}",
    "grid_atoms": "{group}",
    "reduce_frames": "{group}",
    "label_batch": "{batch}",
    "export_dataset": "{format}",
    "train_potential": "{level}-{seed}",
    "train_arm": "{policy}-{share}-{seed}",
    "run_benchmark": "{potential}-{property}-{batch}",
    "measure_disagreement": "{group}",
}
"""Names of jobs, in logs and in ``pesatlas status``, of rules with many jobs."""

WORK = {
    "run_md": "work/explore",
    "label_atoms": "work/label",
    "label_batch": "work/label",
    "train_potential": "work/train",
    "train_arm": "work/train",
    "run_benchmark": "work/benchmark",
}
"""Folders of what is under way, of rules that resume inside a job."""

_TEMPLATES = {name: template for paths in PATHS.values() for name, template in paths.items()} | dict(
    OF_COMMANDS
)


def groups(batches: int) -> list[str]:
    """Names of the groups that ``batches`` make."""
    return [f"{i:05d}" for i in range(-(-batches // BATCHES_IN_GROUP))]


@dataclass(frozen=True)
class Output:
    """A path of a campaign, taken apart.

    Attributes
    ----------
    rule : which writes it
    name : in ``PATHS``
    wildcards : values of those in its template
    """

    rule: str
    name: str
    wildcards: Mapping[str, str]

    @property
    def job(self) -> str:
        """The name of the job that writes it; empty if its rule has one job."""
        return JOBS[self.rule].format(**self.wildcards) if self.rule in JOBS else ""


def path_of(name: str, **wildcards: str | int) -> str:
    """Return a path as seen from the campaign's folder.

    Wildcards without a value stay as they are, for Snakemake.
    """
    template = _TEMPLATES[name]
    return _fill(template, wildcards) if wildcards else template


def below(results: Path, name: str, **wildcards: str | int) -> Path:
    """Return a path of the campaign, or the release, whose results are in the folder ``results``."""
    return results / within(name, **wildcards)


def within(name: str, **wildcards: str | int) -> str:
    """Return a path as seen from the folder of results, as manifests name files."""
    return path_of(name, **wildcards).removeprefix(f"{RESULTS}/")


def folder_of(name: str, **wildcards: str | int) -> str:
    """Return the folder of a path, as seen from the folder of results.

    The part before its file name or its first wildcard.
    """
    return within(name, **wildcards).partition("{")[0].rpartition("/")[0]


def file_name(name: str) -> str:
    """Return the name of a file without its folder."""
    return PurePosixPath(_TEMPLATES[name]).name


def shown(*names: str) -> str:
    """Return paths for messages, relative to the folder of results.

    A folder with a slash where there are many files.
    """
    return ", ".join(f"{folder_of(name)}/" if "{" in within(name) else within(name) for name in names)


def all_paths() -> Iterator[Output]:
    """Yield every path of the table; its wildcards stand for themselves."""
    for rule, paths in PATHS.items():
        for name, template in paths.items():
            yield Output(rule, name, {each: f"{{{each}}}" for each in _wildcards(template)})


def output_of(found: str | Path) -> Output | None:
    """Return which rule writes a path, as seen from the campaign's folder, and for which wildcards.

    None if no rule does.
    """
    text = str(found)
    literal, patterns = _patterns()
    if text in literal:
        return literal[text]
    for pattern, rule, name in patterns:
        if match := pattern.fullmatch(text):
            return Output(rule, name, match.groupdict())
    return None


def done_by(rule: str, job: str = "") -> str | None:
    """Return the path that is there once a job of a rule is done, as seen from the campaign's folder.

    None if no job is called so.
    """
    if rule not in PATHS:
        return None
    template = next(iter(PATHS[rule].values()))
    if rule not in JOBS:
        return None if job else template
    match = _pattern(JOBS[rule]).fullmatch(job)
    return _fill(template, match.groupdict()) if match else None


def is_file_of(file: str, *names: str, **wildcards: str) -> bool:
    """Return whether a file in a manifest is one of these paths, with these wildcard values."""
    found = output_of(f"{RESULTS}/{file}")
    return found is not None and found.name in names and wildcards.items() <= found.wildcards.items()


def named(files: Mapping[str, str | Iterable[str]]) -> dict[str, list[Path]]:
    """Return the inputs or outputs of a rule as lists by their names, also those that are one path."""
    return {
        name: [Path(each) for each in ([paths] if isinstance(paths, str) else paths)]
        for name, paths in files.items()
    }


def numbered(results: Path, name: str) -> list[Path]:
    """Return the files of batches or groups with a number that are there, in their order."""
    return sorted(results.glob(re.sub(r"{(batch|group)}", "[0-9]" * 5, within(name))))


def log_of(rule: str, job: str = "") -> str:
    """Return the log of a job; of all jobs of its rule, with wildcards, if it is not named."""
    job = job or JOBS.get(rule, "")
    return f"logs/{rule}/{job}.log" if job else f"logs/{rule}.log"


def times_of(rule: str) -> str:
    """Return the table of times and memory that Snakemake measures of a rule's jobs."""
    return log_of(rule).removesuffix(".log") + TIMES.removeprefix("logs/*")


def times_there(folder: Path, rule: str) -> list[Path]:
    """Return the tables of times that are there of a rule's jobs in the campaign's ``folder``."""
    return sorted(folder.glob(re.sub(r"{\w+}", "*", times_of(rule))))


@dataclass(frozen=True)
class Results:
    """The files of one campaign, as its manifests (not a look at the folder) say they are.

    A folder may hold more, e.g. batches of an earlier run with other batch sizes: those belong to nothing.
    """

    root: Path
    label_batches: int
    levels: tuple[str, ...]

    def path(self, name: str, **wildcards: str | int) -> Path:
        """Return one path."""
        return below(self.root, name, **wildcards)

    def of_batches(self, name: str) -> list[Path]:
        """Return a path for each batch of structures."""
        count = read_entry(self.path("structures")).counts["batches"]
        return [self.path(name, batch=i) for i in range(count)]

    def of_groups(self, name: str) -> list[Path]:
        """Return a path for each group of batches of structures."""
        return [self.path(name, group=group) for group in groups(len(self.of_batches("snapshots")))]

    def of_label_batches(self, name: str) -> list[Path]:
        """Return a path for each batch of labels."""
        return [self.path(name, batch=i) for i in range(self.label_batches)]

    def of_levels(self, name: str) -> list[Path]:
        """Return a path for each reference level."""
        return [self.path(name, level=level) for level in self.levels]

    @property
    def files(self) -> dict[str, list[Path]]:
        """Every file that the dataset is made of or becomes, by name, in the order in which data flow."""
        # what a committee predicted, if the campaign is a round after the first
        after_the_first = self.path("calibration").is_file()
        return {
            "structures": [self.path("structures")],
            **{name: self.of_batches(name) for name in ("snapshots", "features")},
            **{name: self.of_groups(name) for name in ("clusters", "candidates")},
            "calibration": [self.path("calibration")] if after_the_first else [],
            "disagreement": self.of_groups("disagreement") if after_the_first else [],
            **{name: [self.path(name)] for name in ("selection", "quality", "atoms")},
            "labels": self.of_label_batches("labels"),
            **{name: self.of_levels(name) for name in ("dataset", "quarantine")},
            **{name: [self.path(name)] for name in ("structure_failures", "atom_failures")},
            "explore_failures": self.of_batches("explore_failures"),
            "label_failures": self.of_label_batches("label_failures"),
            **{name: [self.path(name)] for name in ("dataset_failures", "manifest")},
        }


def _fill(template: str, wildcards: Mapping[str, str | int]) -> str:
    """Put values in the place of wildcards; batches have five digits."""
    for name, value in wildcards.items():
        text = f"{value:05d}" if name in {"batch", "group"} and isinstance(value, int) else str(value)
        template = template.replace(f"{{{name}}}", text)
    return template


def _wildcards(template: str) -> list[str]:
    return re.findall(r"{(\w+)}", template)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """Return the regular expression of a template."""
    parts = re.split(r"{(\w+)}", template)
    text = "".join(
        f"(?P<{part}>{WILDCARDS.get(part, '[^/]+')})" if i % 2 else re.escape(part)
        for i, part in enumerate(parts)
    )
    return re.compile(text)


@cache
def _patterns() -> tuple[dict[str, Output], list[tuple[re.Pattern[str], str, str]]]:
    """Return paths without wildcards, which come first as in Snakemake, and patterns of the others."""
    literal: dict[str, Output] = {}
    patterns = []
    for rule, paths in PATHS.items():
        for name, template in paths.items():
            if "{" in template:
                patterns.append((_pattern(template), rule, name))
            else:
                literal.setdefault(template, Output(rule, name, {}))
    return literal, patterns
