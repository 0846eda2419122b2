"""Dataset: acceptance of labels, every loss accounted for; then exports for training."""


rule collect_dataset:
    input:
        structures=path("structures"),
        snapshots=explore_batches(path("snapshots")),
        features=explore_batches(path("features")),
        clusters=select_groups(path("clusters")),
        selection=path("selection"),
        quality=path("quality"),
        labels=expand(path("labels"), batch=label_batches()),
        atoms=path("atoms"),
        failures=[
            path("structure_failures"),
            path("atom_failures"),
            *expand(path("label_failures"), batch=label_batches()),
        ],
        explore_failures=explore_batches(path("explore_failures")),
    output:
        dataset=expand(path("dataset"), level=campaign.label.levels),
        quarantine=expand(path("quarantine"), level=campaign.label.levels),
        failures=path("dataset_failures"),
        manifest=path("manifest"),
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
        manifest=path("manifest"),
        dataset=expand(path("dataset"), level=campaign.label.levels),
    output:
        record=path("export"),
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
        manifest=path("manifest"),
        dataset=expand(path("dataset"), level=campaign.label.levels),
    output:
        card=path("card"),
        page=path("card_page"),
        citation=path("citation"),
        crate=path("crate"),
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
