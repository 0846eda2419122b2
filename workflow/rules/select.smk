"""Select: two-stage DIRECT sampling over all snapshots. Every step is a map over groups of batches or one merge, in bounded memory."""


rule fit_pca:
    input:
        moments=explore_batches("results/features/{batch}.moments.npz"),
        reference=reference("results/features/{batch}.moments.npz"),
    output:
        pca="results/select/pca.npz",
    log:
        "logs/fit_pca.log",
    benchmark:
        "logs/fit_pca.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(2000),
        runtime=retry_runtime(60),
    params:
        structure=campaign.select.structure.components,
        atoms=campaign.select.atoms.components,
    message:
        "Fitting principal components to the moments of all batches"
    script:
        "../../scripts/fit_pca.py"


rule grid_structures:
    input:
        features=of_group("results/features/{batch}.parquet"),
        pca="results/select/pca.npz",
    output:
        cells="results/select/grid/{group}.structures.npz",
    log:
        "logs/grid_structures/{group}.log",
    benchmark:
        "logs/grid_structures/{group}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(4000),
        runtime=retry_runtime(240),
    params:
        structure=campaign.select.structure.identity(),
    message:
        "Gathering structures of group {wildcards.group} on a grid"
    script:
        "../../scripts/grid_structures.py"


rule cluster_structures:
    input:
        cells=select_groups("results/select/grid/{group}.structures.npz"),
        reference=reference("results/select/grid/{group}.structures.npz"),
        pca="results/select/pca.npz",
    output:
        centres="results/select/structures.npz",
    log:
        "logs/cluster_structures.log",
    benchmark:
        "logs/cluster_structures.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(4000),
        runtime=retry_runtime(240),
    params:
        structure=campaign.select.structure.identity(),
    message:
        "Clustering structures"
    script:
        "../../scripts/cluster_structures.py"


rule grid_atoms:
    input:
        features=of_group("results/features/{batch}.parquet"),
        pca="results/select/pca.npz",
        structures="results/select/structures.npz",
    output:
        cells="results/select/grid/{group}.atoms.npz",
    log:
        "logs/grid_atoms/{group}.log",
    benchmark:
        "logs/grid_atoms/{group}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(4000),
        runtime=retry_runtime(240),
    params:
        atoms=campaign.select.atoms.identity(),
    message:
        "Gathering atoms of group {wildcards.group} on grids"
    script:
        "../../scripts/grid_atoms.py"


rule cluster_atoms:
    input:
        cells=select_groups("results/select/grid/{group}.atoms.npz"),
        reference=reference("results/select/grid/{group}.atoms.npz"),
        structures="results/select/structures.npz",
    output:
        centres="results/select/atoms.npz",
    log:
        "logs/cluster_atoms.log",
    benchmark:
        "logs/cluster_atoms.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(4000),
        runtime=retry_runtime(240),
    params:
        atoms=campaign.select.atoms.identity(),
    message:
        "Clustering atoms within each cluster of structures"
    script:
        "../../scripts/cluster_atoms.py"


rule reduce_frames:
    input:
        snapshots=of_group("results/snapshots/{batch}.parquet"),
        features=of_group("results/features/{batch}.parquet"),
        pca="results/select/pca.npz",
        structures="results/select/structures.npz",
        atoms="results/select/atoms.npz",
    output:
        clusters="results/select/clusters/{group}.parquet",
        candidates="results/select/candidates/{group}.parquet",
        geometries="results/select/candidates/{group}.npy",
        drawn="results/select/drawn/{group}.npz",
    log:
        "logs/reduce_frames/{group}.log",
    benchmark:
        "logs/reduce_frames/{group}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(4000),
        runtime=retry_runtime(240),
    params:
        settings=identity("select"),
    message:
        "Assigning frames of group {wildcards.group} to clusters, keeping the best"
    script:
        "../../scripts/reduce_frames.py"


rule pick_snapshots:
    input:
        snapshots=explore_batches("results/snapshots/{batch}.parquet"),
        candidates=select_groups("results/select/candidates/{group}.parquet"),
        geometries=select_groups("results/select/candidates/{group}.npy"),
        atoms="results/select/atoms.npz",
        reference=reference("results/snapshots/{batch}.parquet"),
        reference_clusters=reference("results/select/clusters/{group}.parquet"),
        disagreement=of_round(select_groups("results/select/disagreement/{group}.parquet")),
        calibration=of_round("results/select/calibration.parquet"),
    output:
        selection="results/selection.parquet",
    log:
        "logs/pick_snapshots.log",
    benchmark:
        "logs/pick_snapshots.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(4000),
        runtime=retry_runtime(240),
    params:
        settings=identity("select"),
        structures_per_job=campaign.label.structures_per_job,
    message:
        "Picking snapshots to label"
    script:
        "../../scripts/pick_snapshots.py"


rule measure_selection:
    input:
        drawn=select_groups("results/select/drawn/{group}.npz"),
        features=explore_batches("results/features/{batch}.parquet"),
        reference=reference("results/features/{batch}.parquet"),
        pca="results/select/pca.npz",
        selection="results/selection.parquet",
    output:
        quality="results/select/quality.parquet",
    log:
        "logs/measure_selection.log",
    benchmark:
        "logs/measure_selection.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(4000),
        runtime=retry_runtime(240),
    message:
        "Measuring what the selection covers"
    script:
        "../../scripts/measure_selection.py"
