"""Benchmark: properties of potentials; only if the configuration has a section of this name."""


rule fetch_benchmark:
    # As for fetch_structures, the data are no outputs: they may have been put there by hand.
    output:
        done=touch("work/fetched/benchmark.txt"),
    log:
        "logs/fetch_benchmark.log",
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
        fetched="work/fetched/benchmark.txt",
        dataset=f"results/dataset/{campaign.train_level}/part-00000.parquet",
        card=trained_card,
    output:
        scores="results/benchmark/scores/{potential}/{property}/{batch}.parquet",
    log:
        "logs/run_benchmark/{potential}-{property}-{batch}.log",
    benchmark:
        "logs/run_benchmark/{potential}-{property}-{batch}.benchmark.tsv"
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
        work="work/benchmark",
    message:
        "Benchmarking {wildcards.property} of {wildcards.potential}, share {wildcards.batch}"
    script:
        "../../scripts/run_benchmark.py"


rule score_benchmark:
    input:
        scores=benchmark_shards(),
    output:
        summary="results/benchmark/summary.parquet",
        scores="results/benchmark/scores.parquet",
        differences="results/benchmark/differences.parquet",
        figure="results/benchmark/figure.svg",
    log:
        "logs/score_benchmark.log",
    benchmark:
        "logs/score_benchmark.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(2000),
        runtime=retry_runtime(60),
    message:
        "Scoring the potentials"
    script:
        "../../scripts/score_benchmark.py"
