"""Structures: from the sources of the configuration to the cells that are explored."""

from pesatlas import registry


def fetched():
    """Snapshots of databases that a rule has to fetch first."""
    return [
        source.cache
        for source in campaign.structures.sources
        if hasattr(registry.find("pesatlas.structures.sources", source.kind), "fetch")
    ]


rule fetch_structures:
    # Needs a network: run it where there is one (`pesatlas run --until fetch_structures` on a login node).
    output:
        cache="{cache}.fetched.parquet",
    log:
        "logs/fetch_structures/{cache}.log",
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=identity("structures"),
    message:
        "Fetching {output.cache}"
    script:
        "../../scripts/fetch_structures.py"


checkpoint prepare_structures:
    input:
        cache=fetched(),
    output:
        structures="results/structures.parquet",
        failures="results/failures/structures.parquet",
    log:
        "logs/prepare_structures.log",
    benchmark:
        "logs/prepare_structures.benchmark.tsv"
    resources:
        mem_mb=grows(4000),
        runtime=grows(120),
    params:
        settings=identity("structures"),
        elements=[campaign.explore.potential.identity(), campaign.label.backend.identity()],
        structures_per_job=campaign.explore.structures_per_job,
    message:
        "Preparing structures"
    script:
        "../../scripts/prepare_structures.py"
