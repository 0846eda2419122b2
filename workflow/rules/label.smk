"""Label: single points of the selection at every reference level, and isolated atoms."""


rule label_atoms:
    input:
        structures=path_of("structures"),
    output:
        atoms=path_of("atoms"),
        failures=path_of("atom_failures"),
    log:
        log_of("label_atoms"),
    benchmark:
        times_of("label_atoms")
    conda:
        "../../envs/environment.yaml"
    threads: campaign.label.parallel * campaign.label.cores
    resources:
        mem_mb=retry_memory(2000, each_core=2000),
        runtime=retry_runtime(720),
    params:
        backend=campaign.label.backend.identity(),
        levels=campaign.label.levels,
        work=WORK["label_atoms"],
    message:
        "Isolated atoms at levels {params.levels}"
    script:
        "../../scripts/label_atoms.py"


rule label_batch:
    input:
        selection=path_of("selection"),
    output:
        labels=path_of("labels"),
        failures=path_of("label_failures"),
    log:
        log_of("label_batch"),
    benchmark:
        times_of("label_batch")
    conda:
        "../../envs/environment.yaml"
    threads: campaign.label.parallel * campaign.label.cores
    resources:
        mem_mb=retry_memory(2000, each_core=2000),
        runtime=retry_runtime(720),
        gpu=int(campaign.label.device != "cpu"),
    params:
        settings=identity("label"),
        work=WORK["label_batch"],
    message:
        "Labelling batch {wildcards.batch}"
    script:
        "../../scripts/label_batch.py"
