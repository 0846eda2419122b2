"""Dataset: accepted labels, every loss accounted for."""


rule collect_dataset:
    input:
        structures="results/structures.parquet",
        snapshots=explore_batches("results/snapshots/{batch}.parquet"),
        features=explore_batches("results/features/{batch}.parquet"),
        selection="results/selection.parquet",
        labels=expand("results/labels/{batch}.parquet", batch=label_batches()),
        atoms="results/labels/atoms.parquet",
        failures=[
            "results/failures/structures.parquet",
            "results/failures/atoms.parquet",
            *expand("results/failures/label/{batch}.parquet", batch=label_batches()),
        ],
        explore_failures=explore_batches("results/failures/explore/{batch}.parquet"),
    output:
        dataset=expand("results/dataset/{level}/part-00000.parquet", level=campaign.label.levels),
        failures="results/failures/dataset.parquet",
        manifest="results/manifest.json",
    log:
        "logs/collect_dataset.log",
    benchmark:
        "logs/collect_dataset.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(120),
    params:
        split=campaign.dataset.split.identity(),
        seed=campaign.campaign.seed,
        levels=campaign.label.levels,
    message:
        "Collecting the dataset"
    script:
        "../../scripts/collect_dataset.py"
