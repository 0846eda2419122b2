"""Benchmark: potentials judged by what people use them for; only if the configuration has a section of this name."""


def judged_shards():
    """Return the table of every potential, property and share of its structures."""
    if campaign.benchmark is None:
        return []
    pattern = "results/benchmark/scores/{potential}/{property}/{batch}.parquet"
    return [
        pattern.format(potential=potential, property=kind, batch=f"{i:05d}")
        for potential in campaign.judged
        for kind, options in campaign.benchmark.chosen().items()
        for i in range(campaign.benchmark.jobs(options))
    ]


def benchmarked():
    """Return what the report and `all` ask for, if potentials are to be judged."""
    return ["results/benchmark/summary.parquet"] if campaign.benchmark else []


def property_settings(wildcards):
    """Return what decides a score, beside the potential and the data."""
    return campaign.benchmark.chosen()[wildcards.property].identity() if campaign.benchmark else None


def judged_settings(wildcards):
    """Return the potential that a score is of."""
    options, corrected = campaign.judged[wildcards.potential]
    return [options.identity(), corrected]


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
        "Making sure that the sets that potentials are judged by are there"
    script:
        "../../scripts/fetch_benchmark.py"


rule run_benchmark:
    input:
        fetched="work/fetched/benchmark.txt",
        dataset=f"results/dataset/{campaign.label.levels[0]}/part-00000.parquet",
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
        mem_mb=grows(6000),
        runtime=lasts(1440),
        gpu=int(bool(campaign.benchmark) and campaign.benchmark.device != "cpu"),
    params:
        settings=property_settings,
        potential=judged_settings,
        seed=campaign.campaign.seed,
        work="work/benchmark",
    message:
        "Judging {wildcards.potential} by its {wildcards.property}, share {wildcards.batch}"
    script:
        "../../scripts/run_benchmark.py"


rule score_benchmark:
    input:
        scores=judged_shards(),
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
        mem_mb=grows(2000),
        runtime=lasts(60),
    message:
        "Scoring the potentials"
    script:
        "../../scripts/score_benchmark.py"
