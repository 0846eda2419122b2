"""Compare: selection policies at equal DFT cost, by the potentials trained on what they pick. There with a section `compare` alone."""


# all that the arms need is the selection, so that labels flow as ever
ruleorder: pick_arms > pick_snapshots


rule pick_arms:
    input:
        structures=path("structures"),
        snapshots=explore_batches(path("snapshots")),
        clusters=select_groups(path("clusters")),
        candidates=select_groups(path("candidates")),
        geometries=select_groups(path("geometries")),
        atoms=path("atom_centres"),
        reference=reference(path("snapshots")),
        reference_clusters=reference(path("clusters")),
    output:
        selection=path("selection"),
        arms=path("arms"),
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
        manifest=path("manifest"),
        dataset=path("dataset", level=campaign.train_level),
        arms=path("arms"),
        atoms=path("atoms"),
        base=path("base_fetched") if campaign.train.base else [],
    output:
        model=[path("arm_model"), path("arm_weights"), path("arm_state")],
        history=path("arm_history"),
        page=path("arm_page"),
        card=path("arm_card"),
        errors=path("arm_errors"),
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
        arms=path("arms"),
        errors=compared(path("arm_errors")),
    output:
        comparison=path("comparison"),
        contrasts=path("contrasts"),
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
