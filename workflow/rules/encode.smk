"""Encode: feature vectors of the snapshots of a batch, and their moments."""


rule encode_snapshots:
    input:
        snapshots="results/snapshots/{batch}.parquet",
    output:
        features="results/features/{batch}.parquet",
        moments="results/features/{batch}.moments.npz",
    log:
        "logs/encode_snapshots/{batch}.log",
    benchmark:
        "logs/encode_snapshots/{batch}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=retry_memory(6000),
        runtime=retry_runtime(240),
        gpu=int(campaign.encode.device != "cpu"),
    params:
        settings=identity("encode"),
    message:
        "Encoding snapshots of batch {wildcards.batch}"
    script:
        "../../scripts/encode_snapshots.py"
