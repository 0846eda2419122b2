"""Compare: selection policies at equal DFT cost, by potentials trained on their picks (section `compare`)."""


# all that the arms need is the selection, so that labels flow as ever
ruleorder: pick_arms > pick_snapshots


rule pick_arms:
    input:
        structures=path_of("structures"),
        snapshots=explore_batches(path_of("snapshots")),
        clusters=select_groups(path_of("clusters")),
        candidates=select_groups(path_of("candidates")),
        geometries=select_groups(path_of("geometries")),
        atoms=path_of("atom_centres"),
        reference=reference(path_of("snapshots")),
        reference_clusters=reference(path_of("clusters")),
    output:
        selection=path_of("selection"),
        arms=path_of("arms"),
    log:
        log_of("pick_arms"),
    benchmark:
        times_of("pick_arms")
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(4000),
        runtime=retry_runtime(240),
    params:
        settings=identity("select"),
        # neither more seeds nor other shares pick anew
        compare={
            name: value
            for name, value in campaign.compare.identity().items()
            if name not in {"seeds", "cost_shares"}
        },
        split=campaign.dataset.split.identity(),
        seed=campaign.campaign.seed,
        structures_per_job=campaign.label.structures_per_job,
    message:
        "Picking snapshots for every arm of the comparison, and for its test"
    script:
        "../../scripts/pick_arms.py"


rule train_arm:
    input:
        manifest=path_of("manifest"),
        dataset=path_of("dataset", level=campaign.train_level),
        arms=path_of("arms"),
        atoms=path_of("atoms"),
        base=path_of("base_fetched") if campaign.train.base else [],
    output:
        model=[path_of("arm_model"), path_of("arm_weights"), path_of("arm_state")],
        history=path_of("arm_history"),
        page=path_of("arm_page"),
        card=path_of("arm_card"),
        errors=path_of("arm_errors"),
    log:
        log_of("train_arm"),
    benchmark:
        times_of("train_arm")
    wildcard_constraints:
        policy="|".join(policy.kind for policy in campaign.compare.policies),
        share=r"[\d.]+",
        seed=r"\d+",
    conda:
        "../../envs/environment.yaml"
    threads: campaign.train.devices * (1 + campaign.train.loaders)
    resources:
        mem_mb=retry_memory(8000, each_core=2000),
        runtime=retry_runtime(1440),
        gpu=campaign.train.devices if campaign.train.device != "cpu" else 0,
    params:
        settings={
            name: value
            for name, value in campaign.train.identity().items()
            if name not in {"seeds", "level"}
        },
        shares=campaign.compare.cost_shares,
        work=WORK["train_arm"],
    message:
        "Training on what {wildcards.policy} picked for {wildcards.share} of the cost, seed {wildcards.seed}"
    script:
        "../../scripts/train_arm.py"


rule compare_arms:
    input:
        arms=path_of("arms"),
        errors=compared(path_of("arm_errors")),
    output:
        comparison=path_of("comparison"),
        contrasts=path_of("contrasts"),
        efficiency=path_of("efficiency"),
    log:
        log_of("compare_arms"),
    benchmark:
        times_of("compare_arms")
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(2000),
        runtime=retry_runtime(60),
    params:
        settings=identity("compare"),
    message:
        "Comparing the arms"
    script:
        "../../scripts/compare_arms.py"
