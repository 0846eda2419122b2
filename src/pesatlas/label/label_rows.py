"""Rows of the tables of labels and of failures."""

import json
from collections.abc import Iterable
from typing import Any

from pesatlas import __version__
from pesatlas.label.backend import Charges, Failed, Result
from pesatlas.levels.level import Level
from pesatlas.tables.failures import failure_row


def result_columns(result: Result, level: Level, key: str) -> dict[str, Any]:
    """Return the columns that labels of crystals and of isolated atoms share."""
    return {
        "level": level.name,
        "level_fingerprint": level.fingerprint,
        "energy_eV": result.energy_eV,
        "free_energy_eV": result.free_energy_eV,
        "forces_eV_per_A": [component for force in result.forces_eV_per_A for component in force],
        "stress_eV_per_A3": result.stress_eV_per_A3,
        "magmoms_muB": result.magmoms_muB,
        "band_gap_eV": result.band_gap_eV,
        "scf_steps": result.scf_steps,
        "converged": result.converged,
        "corrections": json.dumps(result.corrections),
        "code": level.code_text,
        "pseudopotentials": json.dumps(result.pseudopotentials, sort_keys=True),
        "settings": json.dumps(result.settings, sort_keys=True),
        "wall_s": result.wall_s,
        "label_key": key,
        "code_version": __version__,
    }


def charge_columns(charges: Charges | None) -> dict[str, Any]:
    """Return the columns of Bader charges: nulls if they were not asked for."""
    found = charges or Charges()
    return {
        "bader_charges_e": found.electrons,
        "bader_net_charges_e": found.net_e,
        "bader_magmoms_muB": found.magmoms_muB,
        "bader_method": found.method,
        "bader_missing": found.missing,
    }


def definitions(levels: Iterable[Level]) -> dict[str, str]:
    """Return a table's metadata on its levels.

    Each in full, by fingerprint, so that a difference can be named.
    """
    return {"pesatlas.levels": json.dumps({level.fingerprint: level.identity() for level in levels})}


def row_of_failure(failed: Failed, key: str, structure_id: str, level: str) -> dict[str, Any]:
    """Return the row of a calculation without a result."""
    return failure_row(
        "label", key, structure_id, failed.reason, failed.detail, level=level, attempts=failed.attempts
    )
