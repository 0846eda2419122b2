"""Structures: from the sources of the configuration to the cells that are explored."""

from pesatlas.structures.source_caches import files_fingerprint, sources_fingerprint


rule fetch_structures:
    # The caches are no outputs: Snakemake deletes outputs before it runs a rule again, and a cache may have
    # been filled by hand.
    output:
        done=touch(path_of("structures_fetched")),
    log:
        log_of("fetch_structures"),
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
        fetched=path_of("structures_fetched"),
        potential=path_of("potential_fetched"),
    output:
        structures=path_of("structures"),
        failures=path_of("structure_failures"),
    log:
        log_of("prepare_structures"),
    benchmark:
        times_of("prepare_structures")
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(4000),
        runtime=retry_runtime(120),
    params:
        settings=identity("structures"),
        files=sources_fingerprint(campaign.structures),
        elements=[campaign.explore.potential.identity(), campaign.label.backend.identity()],
        structures_per_job=campaign.explore.structures_per_job,
    message:
        "Preparing structures"
    script:
        "../../scripts/prepare_structures.py"


rule read_reference:
    # Its frames are a separate batch for encode and select, with a name instead of a number; they are never
    # picked.
    output:
        snapshots=path_of("reference_snapshots"),
        failures=path_of("reference_failures"),
    log:
        log_of("read_reference"),
    benchmark:
        times_of("read_reference")
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(8000),
        runtime=retry_runtime(240),
    params:
        reference=references(campaign),
        files=files_fingerprint(references(campaign)),
    message:
        "Reading datasets that are labelled already"
    script:
        "../../scripts/read_reference.py"
