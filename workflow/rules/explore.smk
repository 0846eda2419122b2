"""Explore: molecular dynamics of a batch of cells."""


rule fetch_potential:
    # As for fetch_structures, the weights are no outputs: they may have been put there by hand.
    output:
        done=touch(path_of("potential_fetched")),
    log:
        log_of("fetch_potential"),
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
        structures=path_of("structures"),
    output:
        **if_saturated("trajectories", "explored_features"),
        snapshots=path_of("snapshots"),
        failures=path_of("explore_failures"),
    log:
        log_of("run_md"),
    benchmark:
        times_of("run_md")
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
        work=WORK["run_md"],
    message:
        "Molecular dynamics of batch {wildcards.batch}"
    script:
        "../../scripts/run_md.py"
