"""Rules of the workflow by stage, to count jobs and add up times; and rules that take seconds."""

from collections.abc import Mapping

from pesatlas.campaign.rounds import references
from pesatlas.config import plugins
from pesatlas.config.campaign import Campaign

RULES = {
    "structures": ("fetch_structures", "fetch_potential", "prepare_structures"),
    "explore": ("run_md",),
    "encode": ("encode_snapshots",),
    "select": (
        "fit_pca",
        "grid_structures",
        "cluster_structures",
        "grid_atoms",
        "cluster_atoms",
        "reduce_frames",
        "pick_snapshots",
        "measure_selection",
    ),
    "atoms": ("label_atoms",),
    "label": ("label_batch",),
    "dataset": ("collect_dataset", "write_card", "export_dataset"),
    "train": ("train_potential", "fetch_base"),
    "compare": ("train_arm", "pick_arms", "compare_arms"),
    "benchmark": ("run_benchmark", "fetch_benchmark", "score_benchmark"),
    "round": ("measure_disagreement", "calibrate_disagreement", "advise_round"),
    "report": ("evaluate_potential", "build_report"),
}
"""The rules of each stage.

Isolated atoms are counted apart from the labels of the selection, and what a round after the first has beside
its selection.
"""

_SOURCE_BYTES = 2_000_000
"""Files with this much are checked, and made into cells, in seconds."""
_SNAPSHOTS = 20_000
"""Number of frames selected from in 6 s (0.3 ms each) and in less than a gigabyte."""
_LABELS = 2_000
"""So many are collected and exported in 10 s (up to 5 ms each, all formats)."""
_EVALUATIONS = 200
"""So many snapshots a potential or an encoder evaluates in seconds on one core."""


def quick_rules(campaign: Campaign, counts: Mapping[str, int]) -> set[str]:
    """Return the rules whose jobs take only seconds in this campaign.

    What runs on a GPU is never among them, nor dynamics, labels and training.

    Parameters
    ----------
    counts : of the table ``structures``; empty while it is not made, and then what depends on it is not among
        the rules
    """
    quick: set[str] = set()
    labels = campaign.most_labels * len(campaign.label.levels)
    known = not references(campaign)
    if known and has_few_sources(campaign):
        quick |= {"prepare_structures"}
    if labels <= _LABELS:
        quick |= {"write_card", "export_dataset"}
    if campaign.most_labels <= _EVALUATIONS and campaign.explore.device == "cpu":
        quick |= {"evaluate_potential"}
    explore = campaign.explore
    snapshots = counts.get("trajectories", 0) * (explore.total_steps // explore.frame_steps + 1)
    if not counts or not known or snapshots > _SNAPSHOTS:
        return quick
    quick |= set(RULES["select"])
    if labels <= _LABELS:
        quick |= {"collect_dataset", "build_report"}
    if snapshots <= _EVALUATIONS and campaign.encode.device == "cpu":
        quick |= {"encode_snapshots"}
    return quick


def has_few_sources(campaign: Campaign) -> bool:
    """Return whether the sources of crystals are small; the size of a database is unknown."""
    size = 0
    for options in campaign.structures.sources:
        source = plugins.find("pesatlas.structures.sources", options.kind)
        if hasattr(source, "fetch"):
            return False
        for path in source.inputs(options) if hasattr(source, "inputs") else []:
            size += path.stat().st_size
            if size > _SOURCE_BYTES:  # there may be 100,000 files
                return False
    return True
