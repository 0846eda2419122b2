"""`pesatlas config new --previous`.

The configuration of the next round, from a campaign that has finished.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import below, folder_of, within
from pesatlas.campaign.load import load_campaign
from pesatlas.campaign.rounds import results_of
from pesatlas.config.campaign import Campaign
from pesatlas.config.section import Section
from pesatlas.errors import UserError
from pesatlas.potentials.weights import directory_sha256
from pesatlas.tables.manifest import sha256_of

_STARTS = 50
_PATHS = {"store", "read_stores", "paths", "reference"}
"""Keys whose texts are paths, beside those that are declared as such."""


def next_round(previous: Path) -> tuple[Campaign, dict[str, str], str]:
    """Return the next round of the campaign in ``previous``, remarks on its keys, and a title.

    The potentials that were trained there are the committee; the first that passed the gate explores, and if
    none did, what explored before. Paths are made relative to the working directory, where the new campaign
    is to run.

    Raises
    ------
    UserError
        If that campaign has not finished, or has fewer than two potentials.
    """
    results = results_of(previous)
    manifest = read_campaign_manifest(results)
    raw = manifest["configuration"]
    where = f"{below(results, 'manifest')}, its configuration"
    moved = _moved(load_campaign(raw, where, extensions=False), results.resolve().parent)
    number = (raw.get("round") or {"number": 1})["number"] + 1
    level = (raw.get("train") or {}).get("level") or manifest["levels"][0]
    committee, fit = _committee(results, level)
    sources = [each for each in moved["structures"]["sources"] if each["kind"] != "previous_round"]
    starts = {"kind": "previous_round", "previous": str(previous), "count": _STARTS}
    name = re.sub(r"-round-\d+$", "", moved["campaign"]["name"])[:22]
    moved["campaign"]["name"] = f"{name}-round-{number}"
    moved["structures"]["sources"] = [*sources, starts]
    if fit:
        moved["explore"]["potential"] = fit[0]
    moved["select"] |= {"policy": {"kind": "disagree"}, "include_equilibrium": False}
    moved["round"] = {
        "number": number,
        "previous": str(previous),
        "manifest_sha256": sha256_of(below(results, "manifest")),
        "committee": committee,
        "level": level,
    }
    notes = {
        "campaign.store": "The same as before: whatever was calculated once is found there.",
        f"structures.sources.{len(sources)}": "The least covered regions of the PES.",
        "explore.potential": "The first of the committee that passed the gate; any other potential that "
        "knows the elements "
        "may explore."
        if fit
        else "As before: no member of the committee passed the gate; the cards of the members have the "
        "reasons.",
        "select.include_equilibrium": "The crystals are labelled already; what starts from them is picked "
        "if it is worth it.",
    }
    title = f"Round {number}, which continues {previous}.\ndocs/rounds.md explains its keys."
    return load_campaign(moved, "the next round", extensions=False), notes, title


def _committee(results: Path, level: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return options of the trained potentials of one level, and of those that passed the gate."""
    cards = [
        (json.loads(path.read_text(encoding="utf-8")), path.parent)
        for path in results.glob(within("potential_card", level=level, seed="*"))
    ]
    if len(cards) < 2:
        raise UserError(
            f"{results / folder_of('potential_card')}: a committee needs at least two potentials of level "
            f"{level}, and there are {len(cards)}. Add seeds to train.seeds (four make a good committee), "
            "and run that campaign again."
        )
    found, fit = [], []
    for card, folder in sorted(cards, key=lambda each: each[0]["seed"]):
        found.append({"kind": "matgl", "path": str(folder), "sha256": directory_sha256(folder)})
        fit += [found[-1]] if card["gate"]["passed"] else []
    return found, fit


def _moved(campaign: Campaign, folder: Path) -> dict[str, Any]:
    """Return the configuration with its relative paths, which start at ``folder``, as they are from here."""
    raw = campaign.model_dump(mode="json")
    raw.pop("round", None)
    _move(campaign, raw, folder)
    return raw


def _move(section: Section, raw: dict[str, Any], folder: Path) -> None:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name not in raw:
            continue
        if isinstance(value, Section):
            _move(value, raw[name], folder)
        elif isinstance(value, Path) or (name in _PATHS and isinstance(value, str)):
            raw[name] = _from_here(str(value), folder)
        elif isinstance(value, list):
            for i, each in enumerate(value):
                if isinstance(each, Section):
                    _move(each, raw[name][i], folder)
                elif isinstance(each, Path) or name in _PATHS:
                    raw[name][i] = _from_here(str(each), folder)


def _from_here(path: str, folder: Path) -> str:
    if Path(path).expanduser().is_absolute():
        return path
    return os.path.relpath(folder / path)
