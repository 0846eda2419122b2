"""Lost or truncated files of a campaign, which a run makes again.

Snakemake asks for what is missing only if something that needs it has to be made. A table that a person deleted, for it was
damaged, would stay away as long as everything behind it is there.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from pathlib import Path

from pesatlas.config.campaign import Campaign
from pesatlas.config.select import groups
from pesatlas.dataset.export import RECORD
from pesatlas.errors import UserError
from pesatlas.tables import read_entry
from pesatlas.tables.manifest import SUFFIX, read_json

_RECORDS = Path(".snakemake") / "metadata"
_OF_BATCH = re.compile(r"(snapshots|features|failures/explore)/(\d{5})\.[a-z.]+")
_OF_GROUP = re.compile(r"select/(grid|clusters|candidates|drawn|disagreement)/(\d{5})\.[a-z.]+")
_OF_LABELS = re.compile(r"(labels|failures/label)/(\d{5})\.parquet")
_SINGLE = re.compile(
    r"structures\.parquet|selection\.parquet|labels/atoms\.parquet|failures/(structures|atoms|dataset|reference)\.parquet"
    r"|(snapshots|features)/reference\.[a-z.]+|select/[a-z]+\.(npz|parquet)|select/[a-z]+/reference\.[a-z.]+|report/parity\.parquet"
)


def missing_files(folder: Path, campaign: Campaign) -> list[Path]:
    """Return what the campaign in ``folder`` had made by its present configuration and lacks now, as seen from ``folder``.

    What was made is known from manifests, and from Snakemake's own records. A table without its manifest entry counts as not there.
    """
    results = folder / "results"
    entered, without_entry = _tables(results)
    made = {*entered, *_in_manifest(results), *_recorded(folder)}
    gone = {name for name in made if not (results / name).exists()}
    batches = batches_of_structures(results)
    lost = {name for name in gone.union(without_entry) if belongs(name, batches, campaign)}
    found = {Path("results") / name for name in lost}
    fetched = Path("work/fetched/structures.txt")
    if (folder / fetched).exists() and not (results / "structures.parquet").exists():
        # structures are still to be read, from a cache that was there and is to be filled again
        caches = [getattr(source, "cache", None) for source in campaign.structures.sources]
        if any(cache and not (folder / cache).exists() for cache in caches):
            found.add(fetched)
    return sorted(found | {Path("results") / name for name in _broken_exports(results, campaign)})


def _tables(results: Path) -> tuple[set[str], set[str]]:
    """Return what has an entry, and the tables without one: a job was killed over these.

    Snakemake knows of the latter, but ``--rerun-incomplete`` does not look at jobs behind a checkpoint.
    """
    names = {path.relative_to(results).as_posix() for path in results.rglob("*")}
    entered = {name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)}
    return entered, {name for name in names if name.endswith(".parquet")} - entered


def _in_manifest(results: Path) -> Iterator[str]:
    for entry in read_json(results / "manifest.json").get("files", []):
        yield entry["file"]


def _recorded(folder: Path) -> Iterator[str]:
    """Yield what Snakemake remembers to have made below ``results``."""
    records = folder / _RECORDS
    for path in records.iterdir() if records.is_dir() else []:
        try:
            name = base64.urlsafe_b64decode(path.name).decode()
        except (binascii.Error, ValueError):
            continue
        if name.startswith("results/"):
            yield name.removeprefix("results/")


def is_recorded(folder: Path, name: str) -> bool:
    """Return whether Snakemake remembers how it made the file ``name`` of the campaign in ``folder``."""
    return (folder / _RECORDS / base64.urlsafe_b64encode(name.encode()).decode()).is_file()


def _broken_exports(results: Path, campaign: Campaign) -> Iterator[str]:
    """Yield the records of exports of which a file is missing."""
    for kind in campaign.dataset.exports.formats:
        folder = results / "exports" / kind
        files = read_json(folder / RECORD).get("files", [])
        if any(not (folder / each["file"]).exists() for each in files):
            yield f"exports/{kind}/{RECORD}"


def belongs(name: str, batches: int, campaign: Campaign) -> bool:
    """Return whether a run by this configuration makes the file: batches of an earlier one, with other sizes, belong to nothing."""
    if Path(name).name.startswith("reference.") and not (campaign.select.reference or campaign.round):
        return False
    if _SINGLE.fullmatch(name):
        return True
    if batch := _OF_LABELS.fullmatch(name):
        return int(batch[2]) < campaign.label_batches
    if batch := _OF_BATCH.fullmatch(name):
        return int(batch[2]) < batches
    if group := _OF_GROUP.fullmatch(name):
        return group[2] in groups(batches)
    others = [f"dataset/{level}/part-00000.parquet" for level in campaign.label.levels]
    others += [f"quarantine/{level}.parquet" for level in campaign.label.levels]
    others += [f"benchmark/scores/{'/'.join(share)}.parquet" for share in campaign.benchmark_shares]
    if campaign.benchmark:
        others += [f"benchmark/{each}.parquet" for each in ("summary", "scores", "differences")]
    if campaign.compare:
        arms = [f"{policy}-{share:g}-{seed}" for policy, share, seed in campaign.compare.runs]
        others += [f"compare/{each}.parquet" for each in ("arms", "comparison", "contrasts")]
        others += [f"compare/{arm}/{each}.parquet" for arm in arms for each in ("errors", "history")]
    folders = [path.relative_to("results").as_posix() for path in campaign.trained.values()]
    return name in others or str(Path(name).parent) in folders


def batches_of_structures(results: Path) -> int:
    """Return how many batches of structures there are; 0 if that is not known, and then they are not yet asked for."""
    try:
        return read_entry(results / "structures.parquet").counts["batches"]
    except (UserError, KeyError):
        return 0
