"""The command ``pesatlas store repair``."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pesatlas.cli.open_campaign import campaign_of
from pesatlas.errors import UserError
from pesatlas.runtime.progress import Progress
from pesatlas.storage.ledger import TORN
from pesatlas.storage.salvage import Repair, repair_store


def repair(folder: Path, config: Path | None, console: Console, *, dry_run: bool) -> None:
    """Move intact records of cut-off tails back into their ledgers; remove damaged bytes; report.

    Parameters
    ----------
    folder : the store, or the folder of the campaign that has it
    config : the campaign's configuration, if it is not its ``config.yaml``

    Raises
    ------
    UserError
        If there is no store, or it can't be written.
    """
    if config is not None or folder == Path() or (folder / "config.yaml").is_file():
        folder = folder / campaign_of(folder, config).campaign.store
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not the folder of a store. Name the folder in campaign.store of config.yaml."
        )
    progress = Progress("ledgers")
    found = []
    for each in repair_store(folder, dry_run=dry_run):
        found.append(each)
        progress.step()
        for line in _lines(each, dry_run=dry_run):
            console.print(escape(line))
    back, lost = sum(each.back for each in found), sum(len(each.damaged) for each in found)
    total = sum(each.records for each in found)
    if not (back or lost or any(each.unreadable or each.busy for each in found)):
        console.print(f"{escape(str(folder))} is whole: {total} records in {len(found)} ledgers.")
        return
    went = "would go" if dry_run else "went"
    console.print(
        f"{total} intact records in {len(found)} ledgers; {back} that had been cut off {went} back; {lost} "
        "are damaged for good: their results are calculated again when a campaign needs them."
    )


def _lines(each: Repair, *, dry_run: bool) -> list[str]:
    """Return the report on one ledger."""
    if each.busy:
        return [f"{each.ledger}: a job works on it; nothing was done. Do it again when that has ended."]
    if each.foreign:
        return [f"{each.ledger}: nothing in it is a record of pesatlas; it is left as it is"]
    lines = []
    if each.back:
        lines.append(f"{each.ledger}: {each.back} records {'would be' if dry_run else 'were'} put back")
    lines += [f"{each.ledger}: the record of {key} is damaged" for key in each.damaged]
    if each.unreadable:
        kept = "" if dry_run else f"; they are kept in {each.ledger.name}{TORN}, which may be deleted"
        lines.append(f"{each.ledger}: {each.unreadable} bytes are not an intact record{kept}")
    return lines
