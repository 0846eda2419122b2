"""Structures: from the sources of the configuration to the cells that are explored."""

from pesatlas.structures.source_caches import state_of_files, state_of_sources


rule fetch_structures:
    # The caches are no outputs: Snakemake deletes outputs before it runs a rule again, and a cache may have been filled by hand.
    output:
        done=touch("work/fetched/structures.txt"),
    log:
        "logs/fetch_structures.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        sources=[source.identity() for source in campaign.structures.sources],
    message:
        "Filling the caches of databases, where there are any"
    script:
        "../../scripts/fetch_structures.py"


checkpoint prepare_structures:
    input:
        fetched="work/fetched/structures.txt",
        potential="work/fetched/potential.txt",
    output:
        structures="results/structures.parquet",
        failures="results/failures/structures.parquet",
    log:
        "logs/prepare_structures.log",
    benchmark:
        "logs/prepare_structures.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(4000),
        runtime=retry_runtime(120),
    params:
        settings=identity("structures"),
        files=state_of_sources(campaign.structures),
        elements=[campaign.explore.potential.identity(), campaign.label.backend.identity()],
        structures_per_job=campaign.explore.structures_per_job,
    message:
        "Preparing structures"
    script:
        "../../scripts/prepare_structures.py"


rule read_reference:
    # Its frames are a batch of their own for encode and select, with a name in place of a number; they are never picked.
    output:
        snapshots="results/snapshots/reference.parquet",
        failures="results/failures/reference.parquet",
    log:
        "logs/read_reference.log",
    benchmark:
        "logs/read_reference.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(8000),
        runtime=retry_runtime(240),
    params:
        reference=campaign.references(),
        files=state_of_files(campaign.references()),
    message:
        "Reading datasets that are labelled already"
    script:
        "../../scripts/read_reference.py"
