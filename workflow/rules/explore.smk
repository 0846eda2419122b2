"""Explore: molecular dynamics of a batch of cells."""


rule run_md:
    input:
        structures="results/structures.parquet",
    output:
        snapshots="results/snapshots/{batch}.parquet",
        failures="results/failures/explore/{batch}.parquet",
    log:
        "logs/run_md/{batch}.log",
    benchmark:
        "logs/run_md/{batch}.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=grows(6000),
        runtime=grows(1440),
        gpu=int(campaign.explore.device != "cpu"),
    params:
        settings=identity("explore"),
        seed=campaign.campaign.seed,
        work="work/explore",
    message:
        "Molecular dynamics of batch {wildcards.batch}"
    script:
        "../../scripts/run_md.py"
