"""Previous rounds: finished campaigns, opened read-only."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import RESULTS, below
from pesatlas.config.round import Round
from pesatlas.errors import UserError
from pesatlas.tables.manifest import sha256_of

if TYPE_CHECKING:  # it looks for plugins, one of which reads rounds
    from pesatlas.config.campaign import Campaign


def results_of(folder: Path) -> Path:
    """Return the folder of results of a campaign, which may be named itself."""
    return folder / RESULTS if (folder / RESULTS).is_dir() else folder


def read_previous(settings: Round) -> tuple[Path, dict[str, Any]]:
    """Return the results of the round before, and their manifest.

    Raises
    ------
    UserError
        If it has not finished, is another round than the one before, or has changed since this round was
        written.
    """
    return _read(settings.previous, settings.number, settings.manifest_sha256)


def datasets_before(settings: Round | None, level: str) -> list[Path]:
    """Return the datasets of all rounds before, the first round's last.

    Their rows at ``level``, or at their first level without it.

    The first round, which has no settings, has none before it.

    Raises
    ------
    UserError
        As ``read_previous``, for any of them.
    """
    found: list[Path] = []
    if settings is None:
        return found
    results, manifest = read_previous(settings)
    while True:
        levels = manifest["levels"]
        found.append(below(results, "dataset", level=level if level in levels else levels[0]))
        about = manifest["configuration"].get("round")
        if not about:
            return found
        # a campaign runs in the folder above its results, where paths of its configuration start
        before = results.resolve().parent / about["previous"]
        results, manifest = _read(before, about["number"], about.get("manifest_sha256"))


def references(campaign: "Campaign") -> list[str]:
    """Return the datasets that are labelled already.

    Those of ``select.reference``, and of the rounds before.
    """
    return [*campaign.select.reference, *map(str, datasets_before(campaign.round, campaign.label.levels[0]))]


def _read(previous: Path, number: int, sha256: str | None) -> tuple[Path, dict[str, Any]]:
    """Read what round ``number`` goes on from.

    Numbers fall from one to the next, so that this comes to an end.
    """
    results = results_of(previous)
    manifest = read_campaign_manifest(results)
    there = (manifest["configuration"].get("round") or {"number": 1})["number"]
    if there != number - 1:
        raise UserError(
            f"round.previous: {previous} is round {there}, so the next round is {there + 1}, not {number}. "
            "Correct round.number or round.previous."
        )
    found = sha256_of(below(results, "manifest"))
    if sha256 not in {None, found}:
        raise UserError(
            f"round.previous: {below(results, 'manifest')} has changed since round {number} was written: "
            f"its sha256 is {found[:12]}..., not {str(sha256)[:12]}.... To continue from its present state, "
            "set round.manifest_sha256 to the new checksum (or null); the selection and all that depends on "
            "it are then made again."
        )
    return results, manifest
