"""The command ``pesatlas retry``."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from pesatlas.campaign.layout import RESULTS
from pesatlas.cli.app import print_json
from pesatlas.cli.lock import campaign_lock
from pesatlas.cli.open_campaign import campaign_of
from pesatlas.cli.slurm_jobs import job_prefix
from pesatlas.errors import UserError
from pesatlas.label.requeue import KNOWN, MissingLabels, find_missing_labels, requeue
from pesatlas.monitor.status import read_status
from pesatlas.tables import FailureReason


def retry(
    folder: Path,
    config: Path | None,
    reasons: Sequence[str],
    console: Console,
    *,
    quarantined: bool,
    dry_run: bool,
    as_json: bool = False,
) -> None:
    """Requeue labels missing for one of ``reasons``, and quarantined ones if requested.

    Tell which they are, as JSON if asked for.

    Raises
    ------
    UserError
        If a reason is unknown, none of the failures there are matches, or jobs of the campaign are alive.
    """
    wanted = [_reason(word) for word in reasons]
    campaign = campaign_of(folder, config, extensions=True)
    results = folder / RESULTS
    find = partial(find_missing_labels, campaign.label.levels, campaign.label_batches, results)
    there = find(KNOWN, quarantined=True)
    if not there:
        if as_json:
            print_json(_facts(there, 0))
        else:
            console.print(
                "Nothing failed, so there is nothing to repeat. Jobs that still run are counted when they "
                "end."
            )
        return
    if not wanted and not quarantined:
        raise UserError(
            f"select what to repeat, with --reason or --quarantined. In {results} there are: "
            f"{_counted(there)}."
        )
    missing = find(wanted, quarantined=quarantined)
    if not missing:
        raise UserError(
            f"nothing in {results} matches. There are: {_counted(there)}. Jobs that still run are counted "
            "when they end."
        )
    tables = f"{len(missing.by_batch)} of the tables of labels"
    if dry_run:
        if as_json:
            print_json(_facts(missing, 0))
            return
        console.print(f"Would go back into the queue: {_counted(missing)}, in {tables}. Nothing was changed.")
        return
    with campaign_lock(folder):
        status = read_status(folder, campaign, job_prefix(folder))
        running = [job for job in status.jobs if job.running]
        if running or status.queue.jobs:
            raise UserError(
                f"{max(len(running), len(status.queue.jobs))} jobs of this campaign are active without a "
                "`pesatlas run`; they would write tables that this command removes. `pesatlas status` lists "
                "them. Wait for them or end them, then try again."
            )
        # again, for a run may just have ended
        missing = find(wanted, quarantined=quarantined)
        made = requeue(campaign.label, campaign.campaign, results, missing)
    if as_json:
        print_json(_facts(missing, made))
        return
    console.print(
        f"Back in the queue: {_counted(missing)}: {made} calculations will be repeated; earlier attempts "
        f"stay on record in {campaign.campaign.store}. {tables[0].upper()}{tables[1:]} will be written "
        "again by `pesatlas run`; everything else in them comes from the store."
    )


def _facts(missing: MissingLabels, repeated: int) -> dict[str, Any]:
    """Return labels that match, and how many calculations will be repeated, for programs."""
    return {
        "labels": [
            {"level": level, "reason": reason, "rows": rows}
            for (level, reason), rows in sorted(missing.counted().items())
        ],
        "tables": len(missing.by_batch),
        "repeated": repeated,
    }


def _reason(word: str) -> FailureReason:
    """Read a reason that a label can fail for."""
    if word in {reason.value for reason in KNOWN}:
        return FailureReason(word)
    if word == FailureReason.QUARANTINED:
        raise UserError("--reason quarantined: quarantined labels are repeated only with --quarantined.")
    known = ", ".join(sorted(reason.value for reason in KNOWN))
    about = ""
    if word in set(FailureReason):
        about = (
            " It is a reason of another stage: crystals that were refused and trajectories that failed give "
            "the same again with the same settings."
        )
    raise UserError(f"--reason {word}: labels fail for one of {known}.{about}")


def _counted(missing: MissingLabels) -> str:
    counts = missing.counted()
    return ", ".join(f"{n} {reason} at {level}" for (level, reason), n in sorted(counts.items())) or "none"
