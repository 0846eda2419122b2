"""Report: one offline page that a person opens first, and what it needs beyond the tables of the stages."""

from pesatlas.report.figure_names import (
    COMPARED_FIGURES,
    COMPARED_SECTION,
    FIGURES,
    ROUND_FIGURES,
    ROUND_SECTION,
    SECTIONS,
    TRAINED_FIGURES,
    TRAINED_SECTION,
)

drawn = (
    FIGURES
    | (TRAINED_FIGURES if campaign.train else {})
    | (COMPARED_FIGURES if campaign.compare else {})
    | (ROUND_FIGURES if campaign.round else {})
)
titles = SECTIONS | TRAINED_SECTION | COMPARED_SECTION | ROUND_SECTION


rule evaluate_potential:
    input:
        dataset=path_of("dataset", level=campaign.label.levels[0]),
    output:
        parity=path_of("parity"),
    log:
        log_of("evaluate_potential"),
    benchmark:
        times_of("evaluate_potential")
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=retry_memory(6000),
        runtime=retry_runtime(240),
        gpu=int(campaign.explore.device != "cpu"),
    params:
        potential=campaign.explore.potential.identity(),
        seed=campaign.campaign.seed,
    message:
        "Asking the exploring potential about labelled snapshots"
    script:
        "../../scripts/evaluate_potential.py"


rule build_report:
    input:
        manifest=path_of("manifest"),
        structures=path_of("structures"),
        snapshots=explore_batches(path_of("snapshots")),
        selection=path_of("selection"),
        quality=path_of("quality"),
        atoms=path_of("atoms"),
        labels=expand(path_of("labels"), batch=label_batches()),
        parity=path_of("parity"),
        calibration=of_round(path_of("calibration")),
        advice=of_round(path_of("advice")),
        # frames of the rounds before, for the map
        frames_before=of_round(path_of("snapshots", batch=REFERENCE)),
        clusters_before=of_round(path_of("clusters", group=REFERENCE)),
        clusters=select_groups(path_of("clusters")),
        dataset=expand(path_of("dataset"), level=campaign.label.levels),
        quarantine=expand(path_of("quarantine"), level=campaign.label.levels),
        # the manifest says which of them have rows
        failures=[
            path_of("structure_failures"),
            path_of("atom_failures"),
            path_of("dataset_failures"),
            *expand(path_of("label_failures"), batch=label_batches()),
        ],
        explore_failures=explore_batches(path_of("explore_failures")),
        potential_card=trained(path_of("potential_card")),
        benchmark_summary=benchmarked(),
        comparison=path_of("comparison") if campaign.compare else [],
        contrasts=path_of("contrasts") if campaign.compare else [],
        efficiency=path_of("efficiency") if campaign.compare else [],
    output:
        report=report(path_of("report"), category="The whole report", caption="../report/campaign.rst"),
        # the same figures in Snakemake's own report: snakemake --report report.zip
        figures=[
            report(
                path_of("figure", figure=name),
                category=titles[section],
                caption=f"../report/{section}.rst",
                labels={"figure": name.replace("_", " ")},
            )
            for name, section in drawn.items()
        ],
    log:
        log_of("build_report"),
    benchmark:
        times_of("build_report")
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(2000),
        runtime=retry_runtime(60),
    message:
        "Building {output.report}"
    script:
        "../../scripts/build_report.py"
