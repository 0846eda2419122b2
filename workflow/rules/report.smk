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
        dataset=f"results/dataset/{campaign.label.levels[0]}/part-00000.parquet",
    output:
        parity="results/report/parity.parquet",
    log:
        "logs/evaluate_potential.log",
    benchmark:
        "logs/evaluate_potential.benchmark.tsv"
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
        manifest="results/manifest.json",
        structures="results/structures.parquet",
        snapshots=explore_batches("results/snapshots/{batch}.parquet"),
        selection="results/selection.parquet",
        quality="results/select/quality.parquet",
        parity="results/report/parity.parquet",
        advice=of_round("results/advice.json"),
        clusters=select_groups("results/select/clusters/{group}.parquet"),
        dataset=expand("results/dataset/{level}/part-00000.parquet", level=campaign.label.levels),
        potentials=trained("results/potentials/{level}-{seed}/card.json"),
        benchmark=benchmarked(),
        compared=(
            multiext("results/compare/", "comparison.parquet", "contrasts.parquet")
            if campaign.compare
            else []
        ),
    output:
        report=report("results/report.html", category="The whole report", caption="../report/campaign.rst"),
        # the same figures in Snakemake's own report: snakemake --report report.zip
        figures=[
            report(
                f"results/figures/{name}.png",
                category=titles[section],
                caption=f"../report/{section}.rst",
                labels={"figure": name.replace("_", " ")},
            )
            for name, section in drawn.items()
        ],
    log:
        "logs/build_report.log",
    benchmark:
        "logs/build_report.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=retry_memory(2000),
        runtime=retry_runtime(60),
    message:
        "Building {output.report}"
    script:
        "../../scripts/build_report.py"
