"""Round: committee of the previous round on the candidates, advice on further labels (section `round`)."""

from pesatlas.potentials.committee_fingerprint import committee_fingerprint


rule calibrate_disagreement:
    input:
        potential=path_of("potential_fetched"),
    output:
        calibration=path_of("calibration"),
    log:
        log_of("calibrate_disagreement"),
    benchmark:
        times_of("calibrate_disagreement")
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=retry_memory(6000),
        runtime=retry_runtime(240),
        gpu=int(campaign.round.device != "cpu"),
    params:
        round=identity("round"),
        files=committee_fingerprint(campaign.round),
    message:
        "Comparing disagreement of the committee with its errors"
    script:
        "../../scripts/calibrate_disagreement.py"


rule measure_disagreement:
    input:
        potential=path_of("potential_fetched"),
        snapshots=of_group(path_of("snapshots")),
        clusters=path_of("clusters"),
        candidates=path_of("candidates"),
    output:
        disagreement=path_of("disagreement"),
    log:
        log_of("measure_disagreement"),
    benchmark:
        times_of("measure_disagreement")
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=retry_memory(6000),
        runtime=retry_runtime(480),
        gpu=int(campaign.round.device != "cpu"),
    params:
        round=identity("round"),
        files=committee_fingerprint(campaign.round),
    message:
        "Asking the committee about candidates of group {wildcards.group}"
    script:
        "../../scripts/measure_disagreement.py"


rule advise_round:
    input:
        manifest=path_of("manifest"),
        selection=path_of("selection"),
        quality=path_of("quality"),
        calibration=path_of("calibration"),
        disagreement=select_groups(path_of("disagreement")),
        atoms=path_of("atoms"),
        labels=expand(path_of("labels"), batch=label_batches()),
    output:
        advice=path_of("advice"),
    log:
        log_of("advise_round"),
    benchmark:
        times_of("advise_round")
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
