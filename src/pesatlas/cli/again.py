"""Files that a run has to make again although Snakemake would leave them as they are: those that had been made and are not there.

Snakemake is told by ``--forcerun``, which makes every file that it names a target as well. So it names none that what was asked for does
not need: a run of one table makes no other that somebody deleted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pesatlas.cli.follow import campaign_of_run
from pesatlas.cli.until import read_dag, until_of
from pesatlas.monitor.missing import missing_files

_NAMED = 8
"""Files that are named one by one."""
_FORCERUN = ("--forcerun", "-R")


@dataclass(frozen=True)
class Again:
    """What a run makes again.

    Attributes
    ----------
    lost : files that had been made and are not there
    open : whether there may be more, which are known only once the structures are prepared
    """

    lost: tuple[Path, ...] = ()
    open: bool = False


def files_to_make_again(command: list[str], options: Sequence[str], folder: Path) -> Again:
    """Return what has to be made again of all that is needed for what ``options`` ask for; nothing if it is not known of which campaign.

    Parameters
    ----------
    command : how Snakemake is started, without its options
    """
    campaign = campaign_of_run(folder, list(options))
    lost = [] if campaign is None else missing_files(folder, campaign)
    # only now, for Snakemake takes seconds to tell
    dag = read_dag(command, options, folder) if lost else None
    if dag is None:
        return Again()
    needed = {name for names in dag.files.values() for name in names}
    return Again(tuple(path for path in lost if str(path) in needed), dag.open)


def tell(again: Again, options: Sequence[str], console: Console) -> None:
    """Say what is made again."""
    if not again.lost:
        return
    names = ", ".join(str(path) for path in again.lost[:_NAMED]) + (
        ", ..." if len(again.lost) > _NAMED else ""
    )
    far = " as far as --until goes" if until_of(options) else ""
    console.print(
        f"{len(again.lost)} files had been made and are not there; they are made again{far}: {names}"
    )


def forcing(again: Again, options: Sequence[str]) -> list[str]:
    """Return options of Snakemake's with which it makes these files again, and what ``--forcerun`` names in ``options`` already."""
    files = [str(path) for path in again.lost]
    if not files:
        return list(options)
    theirs, others = _forced(options)
    return ["--forcerun", *dict.fromkeys([*theirs, *files]), *others]


def _forced(options: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what ``--forcerun`` names, however it is written (Snakemake takes the last one alone), and the other options."""
    named: list[str] = []
    others: list[str] = []
    inside = False
    for option in options:
        name, equals, value = option.partition("=")
        if option in _FORCERUN:
            named, inside = [], True
        elif name == "--forcerun" and equals:
            named, inside = [value], False
        elif option.startswith("-R"):
            named, inside = [option.removeprefix("-R").removeprefix("=")], False
        elif inside and not option.startswith("-"):
            named.append(option)
        else:
            inside = False
            others.append(option)
    return named, others
