"""Train: potentials on the dataset of one level, a job for each seed (section `train`)."""


rule fetch_base:
    output:
        done=touch(path_of("base_fetched")),
    log:
        log_of("fetch_base"),
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        base=campaign.train and campaign.train.base and campaign.train.base.identity(),
    message:
        "Making sure that the weights to start from are there"
    script:
        "../../scripts/fetch_base.py"


rule train_potential:
    input:
        manifest=path_of("manifest"),
        dataset=path_of("dataset"),
        atoms=path_of("atoms"),
        before=(
            [str(path) for path in datasets_before(campaign.round, campaign.train_level)]
            if campaign.train
            else []
        ),
        base=path_of("base_fetched") if campaign.train and campaign.train.base else [],
        retention_set=campaign.train.retention_set if campaign.train and campaign.train.retention_set else [],
    output:
        # what matgl.load_model takes
        model=[path_of("potential_model"), path_of("potential_weights"), path_of("potential_state")],
        history=path_of("potential_history"),
        page=path_of("potential_page"),
        card=path_of("potential_card"),
    log:
        log_of("train_potential"),
    benchmark:
        times_of("train_potential")
    wildcard_constraints:
        level="|".join(campaign.label.levels),
        seed=r"\d+",
    conda:
        "../../envs/environment.yaml"
    # a core for each process: one a device, and those that find neighbours ahead
    threads: campaign.train.devices * (1 + campaign.train.loaders) if campaign.train else 1
    resources:
        mem_mb=retry_memory(8000, each_core=2000),
        runtime=retry_runtime(1440),
        gpu=campaign.train.devices if campaign.train and campaign.train.device != "cpu" else 0,
    params:
        settings=campaign.train
        and {
            name: value
            for name, value in campaign.train.identity().items()
            if name not in {"seeds", "level"}
        },
        work=WORK["train_potential"],
    message:
        "Training potential {wildcards.seed} at level {wildcards.level}"
    script:
        "../../scripts/train_potential.py"
