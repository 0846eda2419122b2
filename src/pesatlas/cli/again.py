"""Lost and stale files that a run has to make again although Snakemake would keep them.

Lost ones had been made and are not there; stale ones are not what the configuration and the other results
make today.

Snakemake is told by ``--forcerun``, which makes every file that it names a target as well. So it names none
that what was asked for does not need: a run of one table makes no other that somebody deleted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from pesatlas.campaign.layout import RESULTS, below, folder_of, path_of
from pesatlas.campaign.load import read_campaign
from pesatlas.cli.live_view import campaign_of_run, configuration_of_run
from pesatlas.cli.snakemake_options import find_options
from pesatlas.cli.until import read_dag, until_of
from pesatlas.config.campaign import Campaign
from pesatlas.dataset.export import RECORD, remove_export
from pesatlas.errors import UserError
from pesatlas.monitor.missing import missing_files
from pesatlas.monitor.stale import stale_files
from pesatlas.tables.manifest import read_json

_NAMED = 8
"""Files that are named one by one."""
_FORCERUN = ("--forcerun", "-R")


@dataclass(frozen=True)
class Again:
    """Files that a run makes again.

    Attributes
    ----------
    lost : files that had been made and are not there
    stale : why others are not what would be made today, by file
    open : whether there may be more, which are known only once the structures are prepared
    """

    lost: tuple[Path, ...] = ()
    stale: Mapping[Path, tuple[str, ...]] = field(default_factory=dict)
    open: bool = False

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return sorted({*self.lost, *self.stale})


def files_to_make_again(
    command: list[str], options: Sequence[str], folder: Path, campaign: Campaign | None
) -> Again:
    """Return what has to be made again of all that is needed for what ``options`` ask for.

    Parameters
    ----------
    command : how Snakemake is started, without its options
    campaign : that of the run; None if it is not known, and then nothing is
    """
    if campaign is None:
        return Again()
    lost, stale = missing_files(folder, campaign), stale_files(folder, campaign)
    # only now, for Snakemake takes seconds to tell
    dag = read_dag(command, options, folder) if lost or stale else None
    if dag is None:
        return Again()
    needed = {name for names in dag.files.values() for name in names}
    return Again(
        tuple(path for path in lost if str(path) in needed),
        {path: why for path, why in stale.items() if str(path) in needed},
        dag.open,
    )


def check_whose(again: Again, folder: Path, arguments: list[str]) -> None:
    """Raise a UserError if results of ``config.yaml`` would be made again for another configuration."""
    own, other = folder / "config.yaml", configuration_of_run(folder, arguments)
    if not again.stale or not own.is_file() or other.samefile(own):
        return
    try:
        if stale_files(folder, read_campaign(own, extensions=False)):
            return
    except UserError:
        return
    raise UserError(
        f"{RESULTS}/ are those of config.yaml, and {other.name} would make {len(again.stale)} of their files "
        f"again. Give it a folder of its own: `mkdir ../other && cp {other.name} ../other/config.yaml`, then "
        "`pesatlas run ../other`; the two may share a store (campaign.store). To replace these results: "
        f"`cp {other.name} config.yaml`."
    )


def remove_old_exports(again: Again, folder: Path, campaign: Campaign | None, console: Console) -> None:
    """Remove exports in formats that the configuration no longer names, and report it.

    Those that somebody made with ``pesatlas export`` stay. The dataset is collected again afterwards, and
    then tells the formats of today.
    """
    results = folder / RESULTS
    if campaign is None or Path(path_of("manifest")) not in again.stale:
        return
    asked_for = campaign.dataset.exports.formats
    configuration = read_json(below(results, "manifest"))["configuration"]
    for kind in configuration["dataset"].get("exports", {}).get("formats", []):
        where = below(results, "export", format=kind).parent
        if kind in asked_for or not (where / RECORD).is_file():
            continue
        left = remove_export(where)
        console.print(
            f"{RESULTS}/{folder_of('export')}/{kind} is no longer in dataset.exports.formats: removed."
            + (f" These stay, because no export made them: {_names(left)}" if left else ""),
            markup=False,
        )


def explain_again(again: Again, options: Sequence[str], console: Console) -> None:
    """Print which files are made again, and why."""
    far = " as far as --until goes" if until_of(options) else ""
    if again.lost:
        console.print(
            f"Missing files are made again{far} ({len(again.lost)}): {_names(again.lost)}",
            markup=False,
        )
    for why, paths in _by_reason(again.stale).items():
        said = "; ".join(why[:_NAMED]) + (f" and {len(why) - _NAMED} more" if len(why) > _NAMED else "")
        console.print(
            f"Stale files are made again{far} ({len(paths)}): {_names(paths)}\n  {said}",
            markup=False,
        )


def stale_problems(results: Path) -> list[str]:
    """Return sentences on stale results of a campaign, one for each reason.

    Of a release, nothing.
    """
    folder = results.resolve().parent
    if results.resolve().name != RESULTS or not (folder / "config.yaml").is_file():
        return []
    campaign = campaign_of_run(folder, [])
    stale = {} if campaign is None else stale_files(folder, campaign)
    return [
        f"{_names(paths)}: stale compared with config.yaml: {'; '.join(why)}. `pesatlas run` makes it again."
        for why, paths in _by_reason(stale).items()
    ]


def _by_reason(stale: Mapping[Path, tuple[str, ...]]) -> dict[tuple[str, ...], list[Path]]:
    reasons: dict[tuple[str, ...], list[Path]] = {}
    for path, why in stale.items():
        reasons.setdefault(why, []).append(path)
    return reasons


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths[:_NAMED])) + (", ..." if len(paths) > _NAMED else "")


def forcing(again: Again, options: Sequence[str]) -> list[str]:
    """Return Snakemake options that make these files again, with those of ``--forcerun`` in ``options``."""
    files = [str(path) for path in again.files]
    if not files:
        return list(options)
    forced = find_options(options, *_FORCERUN)
    theirs = forced[-1].values if forced else ()  # of several, Snakemake takes the last
    gone = {i for option in forced for i in option.indices}
    others = [option for i, option in enumerate(options) if i not in gone]
    return ["--forcerun", *dict.fromkeys([*theirs, *files]), *others]
