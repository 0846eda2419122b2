"""Examples at the end of the help of each command; commands are listed in this order."""

from pesatlas.campaign.layout import RESULTS, folder_of, path_of

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "init": (
        ("pesatlas init cells/", "a folder of CIF, POSCAR, ..."),
        ("pesatlas init 'cells/*.cif' --backend vasp --budget 5000 --gpu-hours 20", ""),
    ),
    "config new": (
        ("pesatlas config new --preset demo > config.yaml", ""),
        ("pesatlas config new --all > config.yaml", "every key, with its meaning"),
        ("pesatlas config new --previous ../round-1 > config.yaml", "the next round"),
    ),
    "config check": (("pesatlas config check config/matpes.yaml", ""),),
    "config schema": (("pesatlas config schema > config.schema.json", ""),),
    "doctor": (
        ("pesatlas doctor", ""),
        ("pesatlas doctor /scratch/campaign", "of a campaign elsewhere"),
        ("pesatlas doctor --profile profiles/slurm", "partitions and account too"),
        ("pesatlas doctor --reference-labels", "compare my VASP with MatPES"),
        ("pesatlas doctor --strain", "compare stresses with slopes of the energy"),
    ),
    "plan": (
        ("pesatlas plan --from ../pilot --structures 150000 --gpus 16 --cores 4096", ""),
        ("pesatlas plan --structures 5000 --atoms 30 --label-seconds 900", "without a pilot"),
    ),
    "cluster": (
        ("pesatlas cluster", "write profiles/slurm/config.yaml"),
        ("pesatlas cluster --try", "test each partition with a small job"),
    ),
    "demo": (("pesatlas demo", "in ./pesatlas-demo"), ("pesatlas demo /scratch/demo", "")),
    "run": (
        ("pesatlas run -n", "what would be done"),
        ("pesatlas run", "run or resume"),
        ("pesatlas run /scratch/campaign --config other.yaml", "elsewhere, with another file"),
        ("pesatlas run --profile profiles/slurm", "on a cluster"),
        ("pesatlas run --until run_md", "stop after the dynamics"),
        ("pesatlas run --take-over", "in place of one in another terminal"),
    ),
    "status": (
        ("pesatlas status --watch", "repeat every 5 s"),
        ("pesatlas status /scratch/campaign", "of a campaign elsewhere"),
        ("pesatlas status --json", "for programs, times in s"),
    ),
    "stop": (
        ("pesatlas stop", "when running jobs have ended"),
        ("pesatlas stop --now", "at once"),
        ("pesatlas stop /scratch/campaign", "of a campaign elsewhere"),
    ),
    "retry": (
        ("pesatlas retry", "list failures and reasons"),
        ("pesatlas retry --reason timeout --reason crashed", ""),
    ),
    "store repair": (
        ("pesatlas store repair --dry-run", "check for damage"),
        ("pesatlas store repair /scratch/shared-store", ""),
    ),
    "summary": (
        ("pesatlas summary", ""),
        ("pesatlas summary ../my-campaign --json", ""),
        ("pesatlas summary releases/2026.1", ""),
    ),
    "report": (
        ("pesatlas report", "of the campaign in this folder"),
        ("pesatlas report /scratch/campaign --to campaign.html --pdf", "and campaign.pdf"),
    ),
    "query": (
        ('pesatlas query "SHOW TABLES"', ""),
        ('pesatlas query "DESCRIBE dataset"', "its columns"),
        ("pesatlas query worst-forces", "a question by its name"),
        ("pesatlas query worst-forces --to worst.extxyz", "its frames"),
        ('pesatlas query "SELECT level, verdict, count(*) FROM dataset GROUP BY ALL"', ""),
        ("pesatlas query \"FROM failures WHERE reason = 'timeout'\" --to timeouts.csv", ""),
    ),
    "explain": (
        ("pesatlas explain mp-149:unit:300K-0.0001GPa:500", ""),
        ("pesatlas explain mp-149", "what became of this crystal"),
    ),
    "failures": (
        ("pesatlas failures", ""),
        ("pesatlas failures --reason timeout --to timeouts.csv", ""),
    ),
    "verify": (("pesatlas verify", ""), ("pesatlas verify releases/2026.1", "")),
    "outputs": (
        ("pesatlas outputs mp-149:unit:300K-0.0001GPa:500 --to look", ""),
        ("pesatlas outputs atom:Si --to silicon", "an isolated atom"),
    ),
    "describe": ((f"pesatlas describe {path_of('selection')}", ""),),
    "gaps": (
        ("pesatlas gaps results", "coverage of our dataset"),
        ("pesatlas gaps results --of my-crystals.extxyz --map gaps.html", "coverage of these structures"),
        ("pesatlas gaps MatPES-PBE-2025.2.json.gz --of config.yaml --to gaps.parquet", ""),
    ),
    "benchmark": (
        ("pesatlas benchmark --potential chgnet --data sets --to scores", ""),
        (
            (
                "pesatlas benchmark --potential chgnet --potential matgl:weights --suite full --data sets "
                "--to scores"
            ),
            "",
        ),
    ),
    "convergence": (
        ("pesatlas convergence --dry-run", "points and their cost"),
        ("pesatlas convergence --level r2scan --picks 6 --energy-mev 2", ""),
        ("pesatlas convergence --of cells/ --cutoff 500 --cutoff 700 --spacing 0.15", "own structures"),
    ),
    "validate": (
        ("pesatlas validate chgnet run.extxyz --level pbe --dry-run", "chosen frames and their cost"),
        ("pesatlas validate matgl:weights run.traj --level pbe --budget 40h --backend gpaw", ""),
    ),
    "reproduce": (("pesatlas reproduce mp-149:unit:300K-0.0001GPa:500 --to again", ""),),
    "export": (
        ("pesatlas export mace", f"to {RESULTS}/{folder_of('export')}/mace"),
        ("pesatlas export matpes releases/2026.1 --to matpes --flagged", ""),
    ),
    "release": (
        ("pesatlas release 2026.1", "to releases/2026.1"),
        ("pesatlas release 2026.2 --since releases/2026.1", ""),
    ),
    "diff": (
        ("pesatlas diff releases/2026.1", f"against {RESULTS}/"),
        ("pesatlas diff before after --json", ""),
    ),
    "import": (
        ("pesatlas import MatPES-PBE-2025.2.json.gz --level pbe", ""),
        ("pesatlas import labels.data --format extxyz --level pbe --to theirs.parquet", ""),
        ("pesatlas import runs/ old.tar.gz --level pbe --to mine.parquet", "finished VASP calculations"),
        ("pesatlas import 'runs/*/static' --level r2scan --vasp-version 6.4.3", ""),
    ),
    "compatible": (
        ("pesatlas compatible runs/", "calculations, with MatPES' PBE"),
        ("pesatlas compatible theirs.extxyz --with results --level r2scan", "with my campaign"),
    ),
    "select": (
        ("pesatlas select frames.extxyz --count 500 --to picked.extxyz", ""),
        ("pesatlas select pool/ --reference labelled.extxyz --count 200 --to new.extxyz", "what is new"),
    ),
}
"""For each command: examples, with a purpose where it is not plain."""


def epilog(command: str) -> str:
    """Return the examples of a command, in rich's markup."""
    lines = [
        f"[bold]{typed}[/bold]" + (f"  [dim]# {purpose}[/dim]" if purpose else "")
        for typed, purpose in EXAMPLES[command]
    ]
    return "\n".join(["For example:", *lines])
