"""Report: one offline page that a person opens first."""


rule build_report:
    input:
        manifest="results/manifest.json",
        selection="results/selection.parquet",
        quality="results/select/quality.parquet",
        clusters=select_groups("results/select/clusters/{group}.parquet"),
        dataset=expand("results/dataset/{level}/part-00000.parquet", level=campaign.label.levels),
    output:
        report="results/report.html",
    log:
        "logs/build_report.log",
    benchmark:
        "logs/build_report.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=lasts(60),
    message:
        "Building {output.report}"
    script:
        "../../scripts/build_report.py"
