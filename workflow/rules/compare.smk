"""Compare: selection policies at equal DFT cost, by the potentials trained on what they pick. There with a section `compare` alone."""


# all that the arms need is the selection, so that labels flow as ever
ruleorder: pick_arms > pick_snapshots


rule pick_arms:
    input:
        structures="results/structures.parquet",
        snapshots=explore_batches("results/snapshots/{batch}.parquet"),
        clusters=select_groups("results/select/clusters/{group}.parquet"),
        candidates=select_groups("results/select/candidates/{group}.parquet"),
        geometries=select_groups("results/select/candidates/{group}.npy"),
        atoms="results/select/atoms.npz",
        reference=reference("results/snapshots/{batch}.parquet"),
        reference_clusters=reference("results/select/clusters/{group}.parquet"),
    output:
        selection="results/selection.parquet",
        arms="results/compare/arms.parquet",
    log:
        "logs/pick_arms.log",
    benchmark:
        "logs/pick_arms.benchmark.tsv"
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
        manifest="results/manifest.json",
        dataset=f"results/dataset/{campaign.train_level}/part-00000.parquet",
        arms="results/compare/arms.parquet",
        atoms="results/labels/atoms.parquet",
        base="work/fetched/base.txt" if campaign.train.base else [],
    output:
        model=multiext("results/compare/{policy}-{share}-{seed}/", "model.json", "model.pt", "state.pt"),
        history="results/compare/{policy}-{share}-{seed}/history.parquet",
        page="results/compare/{policy}-{share}-{seed}/card.md",
        card="results/compare/{policy}-{share}-{seed}/card.json",
        errors="results/compare/{policy}-{share}-{seed}/errors.parquet",
    log:
        "logs/train_arm/{policy}-{share}-{seed}.log",
    benchmark:
        "logs/train_arm/{policy}-{share}-{seed}.benchmark.tsv"
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
        work="work/train",
    message:
        "Training on what {wildcards.policy} picked for {wildcards.share} of the cost, seed {wildcards.seed}"
    script:
        "../../scripts/train_arm.py"


rule compare_arms:
    input:
        arms="results/compare/arms.parquet",
        errors=compared("results/compare/{policy}-{share}-{seed}/errors.parquet"),
    output:
        comparison="results/compare/comparison.parquet",
        contrasts="results/compare/contrasts.parquet",
    log:
        "logs/compare_arms.log",
    benchmark:
        "logs/compare_arms.benchmark.tsv"
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
