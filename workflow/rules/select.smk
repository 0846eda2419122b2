"""Select: two-stage DIRECT sampling; each step maps over groups of batches or merges, in bounded memory."""


rule fit_pca:
    input:
        moments=explore_batches(path_of("moments")),
        reference=reference(path_of("moments")),
    output:
        pca=path_of("pca"),
    log:
        log_of("fit_pca"),
    benchmark:
        times_of("fit_pca")
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
        features=of_group(path_of("features")),
        pca=path_of("pca"),
    output:
        cells=path_of("structure_grid"),
    log:
        log_of("grid_structures"),
    benchmark:
        times_of("grid_structures")
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
        cells=select_groups(path_of("structure_grid")),
        reference=reference(path_of("structure_grid")),
        pca=path_of("pca"),
    output:
        centres=path_of("structure_centres"),
    log:
        log_of("cluster_structures"),
    benchmark:
        times_of("cluster_structures")
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
        features=of_group(path_of("features")),
        pca=path_of("pca"),
        structures=path_of("structure_centres"),
    output:
        cells=path_of("atom_grid"),
    log:
        log_of("grid_atoms"),
    benchmark:
        times_of("grid_atoms")
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
        cells=select_groups(path_of("atom_grid")),
        reference=reference(path_of("atom_grid")),
        structures=path_of("structure_centres"),
    output:
        centres=path_of("atom_centres"),
    log:
        log_of("cluster_atoms"),
    benchmark:
        times_of("cluster_atoms")
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
        snapshots=of_group(path_of("snapshots")),
        features=of_group(path_of("features")),
        pca=path_of("pca"),
        structures=path_of("structure_centres"),
        atoms=path_of("atom_centres"),
    output:
        clusters=path_of("clusters"),
        candidates=path_of("candidates"),
        geometries=path_of("geometries"),
        drawn=path_of("drawn"),
    log:
        log_of("reduce_frames"),
    benchmark:
        times_of("reduce_frames")
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
        snapshots=explore_batches(path_of("snapshots")),
        candidates=select_groups(path_of("candidates")),
        geometries=select_groups(path_of("geometries")),
        atoms=path_of("atom_centres"),
        reference=reference(path_of("snapshots")),
        reference_clusters=reference(path_of("clusters")),
        disagreement=of_round(select_groups(path_of("disagreement"))),
        calibration=of_round(path_of("calibration")),
    output:
        selection=path_of("selection"),
    log:
        log_of("pick_snapshots"),
    benchmark:
        times_of("pick_snapshots")
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
        drawn=select_groups(path_of("drawn")),
        features=explore_batches(path_of("features")),
        reference=reference(path_of("features")),
        pca=path_of("pca"),
        selection=path_of("selection"),
    output:
        quality=path_of("quality"),
    log:
        log_of("measure_selection"),
    benchmark:
        times_of("measure_selection")
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(4000),
        runtime=retry_runtime(240),
    message:
        "Measuring what the selection covers"
    script:
        "../../scripts/measure_selection.py"
