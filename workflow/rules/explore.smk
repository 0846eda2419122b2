"""Explore: molecular dynamics of a batch of cells."""


rule fetch_potential:
    # As for fetch_structures, the weights are no outputs: they may have been put there by hand.
    output:
        done=touch("work/fetched/potential.txt"),
    log:
        "logs/fetch_potential.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        potential=[options.identity() for options in campaign.potentials],
    message:
        "Making sure that the weights of the potential are there"
    script:
        "../../scripts/fetch_potential.py"


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
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=retry_memory(6000),
        runtime=retry_runtime(1440),
        gpu=int(campaign.explore.device != "cpu"),
    params:
        settings=identity("explore"),
        seed=campaign.campaign.seed,
        work="work/explore",
    message:
        "Molecular dynamics of batch {wildcards.batch}"
    script:
        "../../scripts/run_md.py"
