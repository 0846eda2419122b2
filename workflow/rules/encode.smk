"""Encode: feature vectors of the snapshots of a batch, and their moments."""


rule encode_snapshots:
    input:
        snapshots=path_of("snapshots"),
        kept=kept_features,
    output:
        features=path_of("features"),
        moments=path_of("moments"),
    log:
        log_of("encode_snapshots"),
    benchmark:
        times_of("encode_snapshots")
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
