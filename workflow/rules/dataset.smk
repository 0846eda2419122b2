"""Dataset: acceptance of labels, every loss accounted for; then exports for training."""


rule collect_dataset:
    input:
        structures=path_of("structures"),
        snapshots=explore_batches(path_of("snapshots")),
        features=explore_batches(path_of("features")),
        clusters=select_groups(path_of("clusters")),
        candidates=select_groups(path_of("candidates")),
        calibration=of_round(path_of("calibration")),
        disagreement=of_round(select_groups(path_of("disagreement"))),
        selection=path_of("selection"),
        quality=path_of("quality"),
        atoms=path_of("atoms"),
        labels=expand(path_of("labels"), batch=label_batches()),
        structure_failures=path_of("structure_failures"),
        atom_failures=path_of("atom_failures"),
        explore_failures=explore_batches(path_of("explore_failures")),
        label_failures=expand(path_of("label_failures"), batch=label_batches()),
    output:
        dataset=expand(path_of("dataset"), level=campaign.label.levels),
        quarantine=expand(path_of("quarantine"), level=campaign.label.levels),
        dataset_failures=path_of("dataset_failures"),
        manifest=path_of("manifest"),
    log:
        log_of("collect_dataset"),
    benchmark:
        times_of("collect_dataset")
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(2000),
        runtime=retry_runtime(120),
    params:
        settings={
            name: value
            for name, value in campaign.dataset.identity().items()
            if name not in {"exports", "card"}
        },
        seed=campaign.campaign.seed,
        levels=campaign.label.levels,
    message:
        "Collecting the dataset"
    script:
        "../../scripts/collect_dataset.py"


rule export_dataset:
    input:
        manifest=path_of("manifest"),
        dataset=expand(path_of("dataset"), level=campaign.label.levels),
    output:
        record=path_of("export"),
    log:
        log_of("export_dataset"),
    benchmark:
        times_of("export_dataset")
    wildcard_constraints:
        format="|".join(campaign.dataset.exports.formats) or "none",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(2000),
        runtime=retry_runtime(240),
    params:
        verdicts=campaign.dataset.exports.verdicts,
    message:
        "Exporting the dataset as {wildcards.format}"
    script:
        "../../scripts/export_dataset.py"


rule write_card:
    input:
        manifest=path_of("manifest"),
        dataset=expand(path_of("dataset"), level=campaign.label.levels),
    output:
        card=path_of("card"),
        page=path_of("card_page"),
        citation=path_of("citation"),
        crate=path_of("crate"),
    log:
        log_of("write_card"),
    benchmark:
        times_of("write_card")
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(2000),
        runtime=retry_runtime(60),
    params:
        card=campaign.dataset.card.identity(),
    message:
        "Writing the dataset card"
    script:
        "../../scripts/write_card.py"
