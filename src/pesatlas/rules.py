"""The rules of the workflow by stage, for those who count their jobs or add up their times."""

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
"""The rules of each stage; isolated atoms are counted apart from the labels of the selection, and what a round after the first has beside its selection."""
