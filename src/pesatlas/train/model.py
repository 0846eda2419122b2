"""The untrained potential: new, with references and scale of its dataset; or a base with its own."""

import json
from pathlib import Path
from typing import Any

import torch
from matgl.apps.pes import Potential

from pesatlas.atoms.elements import atomic_number, symbol_of
from pesatlas.campaign.layout import file_name
from pesatlas.config import plugins
from pesatlas.config.train import Train
from pesatlas.errors import UserError
from pesatlas.potentials.weights import load_matgl
from pesatlas.tables import read_table
from pesatlas.train.scan import Scanned, names

ARCHITECTURES = "pesatlas.train.architectures"


def references(settings: Train, found: Scanned, atoms: Path) -> tuple[float, ...]:
    """Return initial reference energies (eV) of the elements, in the order of ``found.elements``.

    Parameters
    ----------
    atoms : table of isolated atoms; read unless they are fitted

    Raises
    ------
    UserError
        If an isolated atom is missing at this level, or is of another level of theory.
    """
    if settings.references == "fit":
        return found.energies
    rows = read_table(atoms, "atoms", ["element", "level", "level_fingerprint", "energy_eV"]).to_pylist()
    known = {
        atomic_number(row["element"]): row["energy_eV"]
        for row in rows
        if row["level"] == found.level and row["level_fingerprint"] in found.fingerprints
    }
    missing = set(found.elements) - known.keys()
    if missing:
        raise UserError(
            f"{atoms}: no isolated atom of {names(missing)} at level {found.level}, which energies would be "
            "measured against. Calculate it (`pesatlas run --until label_atoms`; its failures say why it is "
            "missing), or set train.references to fit."
        )
    return tuple(known[number] for number in found.elements)


def new_potential(settings: Train, found: Scanned, energies: tuple[float, ...], seed: int) -> Potential:
    """Return a potential with random weights.

    Its energies begin at ``energies``, its forces at the scale of the dataset's.
    """
    _check_moments(settings, found)
    options: Any = settings.architecture
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = plugins.find(ARCHITECTURES, options.kind).build(
            options, tuple(symbol_of(number) for number in found.elements)
        )
    return Potential(
        model,
        # an energy is a sum over atoms, so a mean of structures is none of it
        data_mean=0.0,
        data_std=found.force_rms,
        element_refs=list(energies),
        calc_magmom=settings.loss.magmoms > 0,
    )


def base_potential(settings: Train, found: Scanned) -> Potential:
    """Return the base with its elements, scaling and references.

    Raises
    ------
    UserError
        If it cannot be trained at this level, or does not know an element of the dataset.
    """
    options: Any = settings.base
    folder = options.folder()
    card = folder / file_name("potential_card")
    if card.is_file():
        level = json.loads(card.read_text(encoding="utf-8")).get("level")
        if level not in {None, found.level}:
            raise UserError(
                f"train.base: {folder} was trained at level {level}, and the dataset is of {found.level}. A "
                "potential meets labels of its own level alone, for the energies of its elements belong to "
                "that: take a base of that level, or train from scratch."
            )
    saved = load_matgl(folder, sha256=options.sha256)
    if not isinstance(saved, Potential):
        raise UserError(
            f"train.base: {folder} is not a potential but a {type(saved).__name__}. Choose a potential (PES)."
        )
    if saved.element_refs is not None and saved.element_refs.property_offset.ndim > 1:
        raise UserError(
            f"train.base: {folder} has several sets of element references. Choose a plain potential."
        )
    unknown = set(found.elements) - set(elements_of(saved))
    if unknown:
        raise UserError(
            f"train.base: {folder} does not know {names(unknown)}, which the dataset has. Take another base, "
            "or leave these out (structures.elements)."
        )
    _check_moments(settings, found)
    if settings.loss.magmoms and not hasattr(saved.model, "sitewise_readout"):
        raise UserError(
            f"train.loss.magmoms: {folder} is a {type(saved.model).__name__}, which predicts no magnetic "
            "moments. Set it to 0."
        )
    saved.calc_stresses = True
    saved.calc_magmom = settings.loss.magmoms > 0
    return saved.requires_grad_(True)


def elements_of(potential: Any) -> tuple[int, ...]:
    """Atomic numbers of a potential, in its own order."""
    return tuple(atomic_number(symbol) for symbol in potential.model.element_types)


def _check_moments(settings: Train, found: Scanned) -> None:
    if settings.loss.magmoms and not found.moments:
        raise UserError(
            f"train.loss.magmoms is {settings.loss.magmoms:g}, and no label of level {found.level} has "
            "magnetic moments. Set it to 0."
        )
