"""Select: two-stage DIRECT sampling over all snapshots."""


rule fit_pca:
    input:
        moments=explore_batches("results/features/{batch}.moments.npz"),
    output:
        pca="results/select/pca.npz",
    log:
        "logs/fit_pca.log",
    benchmark:
        "logs/fit_pca.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(60),
    params:
        structure=campaign.select.structure.components,
        atoms=campaign.select.atoms.components,
    message:
        "Fitting principal components to the moments of all batches"
    script:
        "../../scripts/fit_pca.py"


rule cluster_snapshots:
    input:
        features=explore_batches("results/features/{batch}.parquet"),
        pca="results/select/pca.npz",
    output:
        clusters="results/select/clusters.parquet",
    log:
        "logs/cluster_snapshots.log",
    benchmark:
        "logs/cluster_snapshots.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(240),
    params:
        structure=campaign.select.structure.identity(),
        atoms=campaign.select.atoms.identity(),
    message:
        "Clustering structures, then atoms within each cluster"
    script:
        "../../scripts/cluster_snapshots.py"


rule pick_snapshots:
    input:
        snapshots=explore_batches("results/snapshots/{batch}.parquet"),
        clusters="results/select/clusters.parquet",
    output:
        selection="results/selection.parquet",
    log:
        "logs/pick_snapshots.log",
    benchmark:
        "logs/pick_snapshots.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(240),
    params:
        settings=identity("select"),
        structures_per_job=campaign.label.structures_per_job,
    message:
        "Picking snapshots to label"
    script:
        "../../scripts/pick_snapshots.py"
