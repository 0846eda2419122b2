"""Benchmark: properties of potentials; only if the configuration has a section of this name."""


rule fetch_benchmark:
    # As for fetch_structures, the data are no outputs: they may have been put there by hand.
    output:
        done=touch(path_of("benchmark_fetched")),
    log:
        log_of("fetch_benchmark"),
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        data=str(campaign.benchmark.folder) if campaign.benchmark else "",
        properties=sorted(campaign.benchmark.chosen()) if campaign.benchmark else [],
    message:
        "Fetching benchmark sets"
    script:
        "../../scripts/fetch_benchmark.py"


rule run_benchmark:
    input:
        fetched=path_of("benchmark_fetched"),
        dataset=path_of("dataset", level=campaign.train_level),
        card=trained_card,
    output:
        scores=path_of("benchmark_shard"),
    log:
        log_of("run_benchmark"),
    benchmark:
        times_of("run_benchmark")
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=retry_memory(6000),
        runtime=retry_runtime(1440),
        gpu=int(bool(campaign.benchmark) and campaign.benchmark.device != "cpu"),
    params:
        settings=property_settings,
        potential=benchmark_settings,
        seed=campaign.campaign.seed,
        work=WORK["run_benchmark"],
    message:
        "Benchmarking {wildcards.property} of {wildcards.potential}, share {wildcards.batch}"
    script:
        "../../scripts/run_benchmark.py"


rule score_benchmark:
    input:
        scores=benchmark_shards(),
    output:
        summary=path_of("benchmark_summary"),
        scores=path_of("benchmark_scores"),
        differences=path_of("benchmark_differences"),
        figure=path_of("benchmark_figure"),
    log:
        log_of("score_benchmark"),
    benchmark:
        times_of("score_benchmark")
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(2000),
        runtime=retry_runtime(60),
    message:
        "Scoring the potentials"
    script:
        "../../scripts/score_benchmark.py"
