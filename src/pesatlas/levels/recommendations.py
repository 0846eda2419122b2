"""Cut-offs recommended for pseudopotentials: JSON file of SSSP, and reports (djrepo) of PseudoDojo."""

import json
from pathlib import Path
from typing import Any

from pesatlas.atoms.elements import SYMBOLS
from pesatlas.errors import UserError

Advice = dict[str, dict[str, Any]]
"""By element what is known of: filename, md5, cutoff_wfc and cutoff_rho (Ry), why there are no cut-offs."""

_RY_PER_HARTREE = 2.0
_DENSITY_OF_NORM_CONSERVING = 4.0
"""Cut-off of the density in those of the wavefunctions; products of two plane waves need no more."""
_NORM_CONSERVING = frozenset({"NC", "norm-conserving"})


def read_sssp(path: Path) -> Advice:
    """Return what the JSON file of SSSP recommends.

    Raises
    ------
    UserError
        If it cannot be read, or has no cut-offs.
    """
    if path.is_dir():
        raise UserError(
            f"label.backend.recommendations: {path} is a folder. Name the JSON file of SSSP; for a folder "
            f"with the reports of PseudoDojo write {{djrepo: {path}, hint: normal}}."
        )
    raw = _read_json(path)
    wrong = not isinstance(raw, dict) or [
        name
        for name, each in raw.items()
        if not (isinstance(each, dict) and {"cutoff_wfc", "cutoff_rho"} <= each.keys())
    ]
    if wrong:
        named = f" for {', '.join(wrong[:5])}" if isinstance(wrong, list) else ""
        raise UserError(
            f"label.backend.recommendations: {path} has no cutoff_wfc and cutoff_rho{named}. pesatlas reads "
            "the JSON file of SSSP and, as {djrepo: FOLDER}, the reports of PseudoDojo; for other sets write "
            "label.backend.cutoffs_Ry."
        )
    found: Advice = raw
    return found


def read_pseudodojo(folder: Path, hint: str) -> Advice:
    """Return what the reports of PseudoDojo in a folder (``*.djrepo``, one for each element) recommend.

    Their hints are cut-offs of wavefunctions in Hartree, found by convergence tests; that of the density
    follows, since the pseudopotentials conserve the norm. Estimates of the generator (``ppgen_hints``), which
    stand alone where an element was not tested, are not taken.

    Parameters
    ----------
    hint : low, normal or high

    Raises
    ------
    UserError
        If there are no reports, several for an element, or one is not a report on a norm-conserving file.
    """
    files = sorted(folder.glob("*.djrepo")) if folder.is_dir() else []
    if not files:
        raise UserError(
            f"label.backend.recommendations.djrepo: {folder} is not a folder with reports (*.djrepo). Unpack "
            "the set's djrepo archive of PseudoDojo there."
        )
    found: Advice = {}
    for path in files:
        report = _read_json(path)
        element = report.get("symbol") if isinstance(report, dict) else None
        if element not in SYMBOLS or report.get("pseudo_type") not in _NORM_CONSERVING:
            raise UserError(
                f"label.backend.recommendations.djrepo: {path} is no report of PseudoDojo on a "
                "norm-conserving pseudopotential (symbol and pseudo_type: NC). Take it out of the folder."
            )
        if element in found:
            raise UserError(
                f"label.backend.recommendations.djrepo: {folder} has several reports on {element}. Leave "
                "that of your UPF file."
            )
        found[element] = {"md5": report.get("md5_upf")} | _cutoffs(path, report, hint)
    return found


def _cutoffs(path: Path, report: dict[str, Any], hint: str) -> dict[str, Any]:
    try:
        waves = _RY_PER_HARTREE * float(report["hints"][hint]["ecut"])
    except (KeyError, TypeError, ValueError):
        return {"why": f"{path.name} has no hint '{hint}' from tests"}
    return {"cutoff_wfc": waves, "cutoff_rho": _DENSITY_OF_NORM_CONSERVING * waves}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"label.backend.recommendations: {path} cannot be read ({error.strerror}). Name the JSON file "
            "that comes with the set."
        ) from error
    except ValueError as error:
        raise UserError(f"label.backend.recommendations: {path} is not JSON ({error}).") from error
