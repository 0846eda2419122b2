"""The command ``pesatlas init``: a config.yaml scaled to the crystals of a user."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pesatlas.atoms.elements import atomic_number, shown_formula, symbol_of
from pesatlas.campaign.load import load_campaign
from pesatlas.cli.checkout import schema_for
from pesatlas.config.campaign import Campaign
from pesatlas.config.scaled import Scaled, Wishes, scale
from pesatlas.config.short import short_head
from pesatlas.dataset.stress_symmetry import symmetry_of
from pesatlas.errors import UserError
from pesatlas.levels import potcars, qe, upf
from pesatlas.levels.vasp import possible_elements
from pesatlas.monitor.cells import CellCounts
from pesatlas.monitor.fit import misfits
from pesatlas.storage.atomic import write_text
from pesatlas.structures.crystal import Crystal
from pesatlas.structures.survey import Survey, survey

COUNTED = 200
"""Crystals whose cells are counted; of more, evenly spaced ones."""
SHOWN = 30
"""Crystals in the table; of more, the first."""


def init(wishes: Wishes, to: Path, console: Console) -> Survey:
    """Show the crystals, and write a configuration scaled to them, with the reason of each number.

    Return what the sources have.

    Raises
    ------
    UserError
        If there is a file at ``to`` already, a path has no crystals, or none of them is usable.
    """
    if to.exists():
        raise UserError(f"{to} exists already. Name another file with --to, or move it away.")
    if to.resolve().parent != Path.cwd():
        raise UserError(
            f"--to {to}: paths in a configuration are relative to its folder, and a campaign runs there. "
            "Make the folder, and call `pesatlas init` in it."
        )
    campaign = load_campaign(scale([1], wishes).raw, "the command line", extensions=False)
    labelled, note = _labelled(wishes, campaign)
    found = survey(campaign.structures, campaign.explore, campaign.label.backend, labelled)
    console.print(_table(found))
    console.print(escape(found.sentence), soft_wrap=True)
    if not found.accepted:
        raise UserError("none of these crystals can be explored; the table says why. Nothing was written.")
    atoms = [len(crystal.numbers) for crystal in found.accepted]
    made = scale(atoms, wishes, *_counted(campaign, found.accepted))
    text = _text(made, to)
    if yaml.safe_load(text) != made.raw:
        raise UserError(f"a name of these files cannot be written into {to}: {wishes.paths}. Rename them.")
    campaign = load_campaign(made.raw, str(to), extensions=False)
    write_text(to, text)
    console.print(f"\n[green]{escape(str(to))}[/green]")
    console.print(escape(made.as_yaml([])), soft_wrap=True, highlight=False)
    for sentence in misfits(campaign, list(found.accepted)):
        console.print(f"[yellow]note[/yellow]   {escape(sentence)}", soft_wrap=True)
    if wishes.backend == "vasp":
        note = _potcars(found.elements)
    if note:
        console.print(f"[yellow]note[/yellow]   {escape(note)}", soft_wrap=True)
    return found


def _labelled(wishes: Wishes, campaign: Campaign) -> tuple[frozenset[int] | None, str]:
    """Return the atomic numbers of elements that can be labelled, and what is wrong with their files.

    None: the code of the labels tells.

    Raises
    ------
    UserError
        If the folder of pseudopotentials is not there, or has none.
    """
    if wishes.backend == "vasp":
        return possible_elements(), ""
    if wishes.backend != "qe":
        return None, ""
    options: Any = campaign.label.backend
    elements = frozenset(map(atomic_number, upf.read_folder(options.pseudopotentials.expanduser())))
    try:
        qe.pseudopotentials(options)
    except UserError as error:
        return elements, str(error)
    return elements, ""


def with_pseudopotentials(wishes: Wishes, folder: Path | None) -> Wishes:
    """Return the wishes with a folder of UPF files, and the file of recommendations that lies with them.

    Raises
    ------
    UserError
        If Quantum ESPRESSO is to label and no folder is named, or another code and one is.
    """
    if (wishes.backend == "qe") != (folder is not None):
        raise UserError(
            "--backend qe needs --pseudopotentials FOLDER, and no other backend does: the UPF files of your "
            "set (SSSP, PseudoDojo, ...); docs/qe.md."
        )
    if folder is None:
        return wishes
    beside = folder.with_name(f"{folder.name}.json")  # as SSSP names it
    found = [beside] if beside.is_file() else sorted(folder.glob("*.json"))
    recommendations = str(found[0]) if len(found) == 1 else ""
    return replace(wishes, pseudopotentials=str(folder), recommendations=recommendations)


def _counted(campaign: Campaign, crystals: Sequence[Crystal]) -> tuple[float, int]:
    """Return steps times atoms of a picosecond of all trajectories, and cells, from some of the crystals."""
    counted = CellCounts(campaign.explore)
    some = crystals[:: math.ceil(len(crystals) / COUNTED)]
    for crystal in some:
        for domain in campaign.structures.domains:
            counted.add_domain(domain, crystal)
    share = len(crystals) / len(some)
    return counted.work / campaign.explore.length_ps * share, round(counted.cells * share)


def _potcars(elements: set[int]) -> str:
    """Return which POTCARs labels of these elements need, and which are not here."""
    symbols = potcars.symbols()
    wanted = [symbols[symbol_of(z)] for z in sorted(elements)]
    needed = f"POTCARs of these crystals (potpaw_PBE.64): {', '.join(wanted)}."
    missing = potcars.missing(wanted)
    return (
        f"{needed} Not here: {', '.join(missing)}. {potcars.SET_UP}."
        if missing
        else f"{needed} All are here."
    )


def _text(made: Scaled, to: Path) -> str:
    return made.as_yaml(short_head(schema_for(to.resolve().parent)))


def _table(found: Survey) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("crystal", "formula", "space group"):
        table.add_column(heading)
    table.add_column("atoms", justify="right")
    table.add_column("usable", overflow="fold")
    for crystal in found.accepted[:SHOWN]:
        warnings = "; ".join(crystal.warnings)
        usable = f"[yellow]yes, but[/yellow] {escape(warnings)}" if warnings else "[green]yes[/green]"
        table.add_row(escape(crystal.structure_id), *_described(crystal), usable)
    for key, why in found.failed[:SHOWN]:
        table.add_row(escape(key), "", "", "", f"[red]{why.reason}[/red] {escape(why.detail)}")
    hidden = sum(max(0, len(each) - SHOWN) for each in (found.accepted, found.failed))
    if hidden:
        table.add_row(f"… and {hidden} more", "", "", "", "")
    return table


def _described(crystal: Crystal) -> tuple[str, str, str]:
    symmetry = symmetry_of(crystal.numbers, crystal.cell, crystal.positions)
    formula = shown_formula(crystal.numbers.tolist())
    return formula, f"{symmetry.symbol} ({symmetry.number})", str(len(crystal.numbers))
