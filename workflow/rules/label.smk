"""Label: single points of the selection at every reference level, and isolated atoms."""


rule label_atoms:
    input:
        structures="results/structures.parquet",
    output:
        atoms="results/labels/atoms.parquet",
        failures="results/failures/atoms.parquet",
    log:
        "logs/label_atoms.log",
    benchmark:
        "logs/label_atoms.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: campaign.label.parallel * campaign.label.cores
    resources:
        mem_mb=retry_memory(2000, each_core=2000),
        runtime=retry_runtime(720),
    params:
        backend=campaign.label.backend.identity(),
        levels=campaign.label.levels,
        work="work/label",
    message:
        "Isolated atoms at levels {params.levels}"
    script:
        "../../scripts/label_atoms.py"


rule label_batch:
    input:
        selection="results/selection.parquet",
    output:
        labels="results/labels/{batch}.parquet",
        failures="results/failures/label/{batch}.parquet",
    log:
        "logs/label_batch/{batch}.log",
    benchmark:
        "logs/label_batch/{batch}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: campaign.label.parallel * campaign.label.cores
    resources:
        mem_mb=retry_memory(2000, each_core=2000),
        runtime=retry_runtime(720),
        gpu=int(campaign.label.device != "cpu"),
    params:
        settings=identity("label"),
        work="work/label",
    message:
        "Labelling batch {wildcards.batch}"
    script:
        "../../scripts/label_batch.py"
