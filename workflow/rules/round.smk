"""Round: what the committee of the round before says of the candidates, and whether it is worth to go on. Only with a section `round`."""

from pesatlas.potentials.committee_state import state_of_committee


rule calibrate_disagreement:
    input:
        potential="work/fetched/potential.txt",
    output:
        calibration="results/select/calibration.parquet",
    log:
        "logs/calibrate_disagreement.log",
    benchmark:
        "logs/calibrate_disagreement.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=retry_memory(6000),
        runtime=retry_runtime(240),
        gpu=int(campaign.round.device != "cpu"),
    params:
        round=identity("round"),
        files=state_of_committee(campaign.round),
    message:
        "Comparing disagreement of the committee with its errors"
    script:
        "../../scripts/calibrate_disagreement.py"


rule measure_disagreement:
    input:
        potential="work/fetched/potential.txt",
        snapshots=of_group("results/snapshots/{batch}.parquet"),
        clusters="results/select/clusters/{group}.parquet",
        candidates="results/select/candidates/{group}.parquet",
    output:
        disagreement="results/select/disagreement/{group}.parquet",
    log:
        "logs/measure_disagreement/{group}.log",
    benchmark:
        "logs/measure_disagreement/{group}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=retry_memory(6000),
        runtime=retry_runtime(480),
        gpu=int(campaign.round.device != "cpu"),
    params:
        round=identity("round"),
        files=state_of_committee(campaign.round),
    message:
        "Asking the committee about candidates of group {wildcards.group}"
    script:
        "../../scripts/measure_disagreement.py"


rule advise_round:
    input:
        manifest="results/manifest.json",
        selection="results/selection.parquet",
        quality="results/select/quality.parquet",
        calibration="results/select/calibration.parquet",
        disagreement=select_groups("results/select/disagreement/{group}.parquet"),
    output:
        advice="results/advice.json",
    log:
        "logs/advise_round.log",
    benchmark:
        "logs/advise_round.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(4000),
        runtime=retry_runtime(60),
    params:
        round=identity("round"),
    message:
        "Weighing another thousand labels"
    script:
        "../../scripts/advise_round.py"
