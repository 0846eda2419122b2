"""Lost or truncated files of a campaign, which a run makes again.

Snakemake asks for what is missing only if something that needs it has to be made. A table that a person
deleted, for it was damaged, would stay away as long as everything behind it is there.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from pathlib import Path

from pesatlas.campaign.layout import REFERENCE, RESULTS, below, groups, output_of, path_of
from pesatlas.campaign.named_potentials import benchmark_shares, trained_potentials
from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.monitor.counts import OF_GROUPS
from pesatlas.tables import read_entry
from pesatlas.tables.manifest import SUFFIX, read_json

_RECORDS = Path(".snakemake") / "metadata"
_TARGETS = frozenset(
    {"manifest", "card", "card_page", "citation", "crate", "export", "report", "figure", "advice"}
)
"""Files that Snakemake looks for by itself, and those that are made with them."""
_READ_BY_NOTHING = frozenset(
    {"benchmark_figure", "arm_card", "arm_page", "arm_model", "arm_weights", "arm_state"}
)


def missing_files(folder: Path, campaign: Campaign) -> list[Path]:
    """Return lost files of the campaign in ``folder``, relative to it.

    What was made is known from manifests, and from Snakemake's own records. A table without its manifest
    entry counts as not there.
    """
    results = folder / RESULTS
    entered, without_entry = _tables(results)
    made = {*entered, *_in_manifest(results), *_recorded(folder)}
    gone = {name for name in made if not (results / name).exists()}
    jobs = jobs_of(batches_of_structures(results), campaign)
    lost = {name for name in gone.union(without_entry) if belongs(name, jobs, campaign)}
    found = {Path(RESULTS) / name for name in lost}
    fetched = Path(path_of("structures_fetched"))
    if (folder / fetched).exists() and not below(results, "structures").exists():
        # structures are still to be read, from a cache that was there and is to be filled again
        caches = [getattr(source, "cache", None) for source in campaign.structures.sources]
        if any(cache and not (folder / cache).exists() for cache in caches):
            found.add(fetched)
    return sorted(found | {Path(each) for each in _broken_exports(results, campaign)})


def _tables(results: Path) -> tuple[set[str], set[str]]:
    """Return what has an entry, and the tables without one: a job was killed over these.

    Snakemake knows of the latter, but ``--rerun-incomplete`` does not look at jobs behind a checkpoint.
    """
    names = {each.relative_to(results).as_posix() for each in results.rglob("*")}
    entered = {name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)}
    return entered, {name for name in names if name.endswith(".parquet")} - entered


def _in_manifest(results: Path) -> Iterator[str]:
    for entry in read_json(below(results, "manifest")).get("files", []):
        yield entry["file"]


def _recorded(folder: Path) -> Iterator[str]:
    """Yield what Snakemake remembers to have made below ``results``."""
    records = folder / _RECORDS
    for record in records.iterdir() if records.is_dir() else []:
        try:
            name = base64.urlsafe_b64decode(record.name).decode()
        except (binascii.Error, ValueError):
            continue
        if name.startswith(f"{RESULTS}/"):
            yield name.removeprefix(f"{RESULTS}/")


def is_recorded(folder: Path, name: str) -> bool:
    """Return whether Snakemake remembers how it made the file ``name`` of the campaign in ``folder``."""
    return (folder / _RECORDS / base64.urlsafe_b64encode(name.encode()).decode()).is_file()


def _broken_exports(results: Path, campaign: Campaign) -> Iterator[str]:
    """Yield the records of exports of which a file is missing, as seen from the campaign's folder."""
    for kind in campaign.dataset.exports.formats:
        record = below(results, "export", format=kind)
        files = read_json(record).get("files", [])
        if any(not (record.parent / each["file"]).exists() for each in files):
            yield path_of("export", format=kind)


def jobs_of(batches: int, campaign: Campaign) -> dict[str, frozenset[str]]:
    """Return the names of the jobs that a run by this configuration has, of rules with many or with none."""
    reference = {REFERENCE} if campaign.select.reference or campaign.round else set()
    of_batches = {f"{i:05d}" for i in range(batches)}
    of_groups = frozenset({*groups(batches), *reference})
    runs = campaign.compare.runs if campaign.compare else []
    compared = frozenset({""} if campaign.compare else ())
    return {
        "read_reference": frozenset({""} if reference else ()),
        "run_md": frozenset(of_batches),
        "encode_snapshots": frozenset(of_batches | reference),
        **dict.fromkeys((*OF_GROUPS, "measure_disagreement"), of_groups),
        "label_batch": frozenset(f"{i:05d}" for i in range(campaign.label_batches)),
        "train_potential": frozenset(trained_potentials(campaign)),
        "pick_arms": compared,
        "train_arm": frozenset(f"{policy}-{share:g}-{seed}" for policy, share, seed in runs),
        "compare_arms": compared,
        "run_benchmark": frozenset("-".join(share) for share in benchmark_shares(campaign)),
        "score_benchmark": frozenset({""} if campaign.benchmark else ()),
    }


def belongs(name: str, jobs: Mapping[str, frozenset[str]], campaign: Campaign) -> bool:
    """Return whether a run by this configuration makes the file.

    Batches of an earlier one, with other sizes, belong to nothing.
    """
    found = output_of(f"{RESULTS}/{name}")
    if found is None or found.name in _TARGETS | _READ_BY_NOTHING:
        return False
    if found.job not in jobs.get(found.rule, {""}):
        return False
    return found.rule != "collect_dataset" or found.wildcards.get("level") in {None, *campaign.label.levels}


def batches_of_structures(results: Path) -> int:
    """Return how many batches of structures there are.

    0 if that is not known, and then they are not yet asked for.
    """
    try:
        return read_entry(below(results, "structures")).counts["batches"]
    except (UserError, KeyError):
        return 0
