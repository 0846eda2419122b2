"""Label: single points of the selection at every reference level, and isolated atoms."""


rule label_atoms:
    input:
        structures=path("structures"),
    output:
        atoms=path("atoms"),
        failures=path("atom_failures"),
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
        selection=path("selection"),
    output:
        labels=path("labels"),
        failures=path("label_failures"),
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
