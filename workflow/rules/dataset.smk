"""Dataset: acceptance of labels, every loss accounted for; then exports for training."""


rule collect_dataset:
    input:
        structures="results/structures.parquet",
        snapshots=explore_batches("results/snapshots/{batch}.parquet"),
        features=explore_batches("results/features/{batch}.parquet"),
        clusters=select_groups("results/select/clusters/{group}.parquet"),
        selection="results/selection.parquet",
        quality="results/select/quality.parquet",
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
        quarantine=expand("results/quarantine/{level}.parquet", level=campaign.label.levels),
        failures="results/failures/dataset.parquet",
        manifest="results/manifest.json",
    log:
        "logs/collect_dataset.log",
    benchmark:
        "logs/collect_dataset.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(2000),
        runtime=retry_runtime(120),
    params:
        settings={
            name: value
            for name, value in campaign.dataset.identity().items()
            if name not in {"exports", "card"}
        },
        seed=campaign.campaign.seed,
        levels=campaign.label.levels,
    message:
        "Collecting the dataset"
    script:
        "../../scripts/collect_dataset.py"


rule export_dataset:
    input:
        manifest="results/manifest.json",
        dataset=expand("results/dataset/{level}/part-00000.parquet", level=campaign.label.levels),
    output:
        record="results/exports/{format}/export.json",
    log:
        "logs/export_dataset/{format}.log",
    benchmark:
        "logs/export_dataset/{format}.benchmark.tsv"
    wildcard_constraints:
        format="|".join(campaign.dataset.exports.formats) or "none",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(2000),
        runtime=retry_runtime(240),
    params:
        verdicts=campaign.dataset.exports.verdicts,
    message:
        "Exporting the dataset as {wildcards.format}"
    script:
        "../../scripts/export_dataset.py"


rule write_card:
    input:
        manifest="results/manifest.json",
        dataset=expand("results/dataset/{level}/part-00000.parquet", level=campaign.label.levels),
    output:
        card="results/card.json",
        page="results/card.md",
        citation="results/CITATION.cff",
        crate="results/ro-crate-metadata.json",
    log:
        "logs/write_card.log",
    benchmark:
        "logs/write_card.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(2000),
        runtime=retry_runtime(60),
    params:
        card=campaign.dataset.card.identity(),
    message:
        "Writing the dataset card"
    script:
        "../../scripts/write_card.py"
