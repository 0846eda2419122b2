"""One existing run, read and verified as our own labels are."""

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from pesatlas.frames.frame import Frame, UnusableFrame, check_usable
from pesatlas.label.backend import Failed
from pesatlas.label.bad_output import BadOutputError, TornError
from pesatlas.label.vasp.check_outputs import find_fault, stress
from pesatlas.label.vasp.existing.find import FoundRun, Search
from pesatlas.label.vasp.existing.settings import RunHeader, RunSettings, count_steps, read_header
from pesatlas.label.vasp.inputs import Inputs
from pesatlas.label.vasp.open_files import open_file
from pesatlas.label.vasp.outcar import Outcar, read_outcar
from pesatlas.label.vasp.vasprun import Run, read_run
from pesatlas.tables import FailureReason

NO_OUTCAR = "no OUTCAR: moments are not known, and vasprun.xml alone says that it finished and converged"
NO_MOMENTS = "OUTCAR has no moments of the ions: VASP writes them with LORBIT = 10 or 11"
_LONGEST = 300


@dataclass(frozen=True)
class ExistingLabel:
    """A verified run: a label, whatever its level is.

    Attributes
    ----------
    settings : of the run
    cell : (3, 3) Å
    row : columns of the table ``imported`` that the run tells
    notes : doubts: what is less certain than with both outputs, and what the library that read them warned of
    """

    settings: RunSettings
    cell: np.ndarray
    row: dict[str, Any]
    notes: tuple[str, ...] = ()


def labels_in(search: Search) -> Iterator[tuple[str, ExistingLabel | Failed]]:
    """Yield every run that a search finds, by its name: its label, or why it has none.

    Of labels with the same ``vasprun.xml`` all but one have none: the first with an OUTCAR stays, else the
    first. From a label without OUTCAR on, the next ones wait in a file until all runs are read, for a copy
    may have one.
    """
    best: dict[str, tuple[int, str, bool]] = {}
    waits, count = False, 0
    with tempfile.TemporaryFile(prefix="pesatlas-labels-") as waiting:
        for index, found in enumerate(search.runs()):
            outcome, digest = _outcome(found)
            if isinstance(outcome, ExistingLabel) and digest:
                whole = found.outcar is not None
                if digest not in best or (whole and not best[digest][2]):
                    best[digest] = (index, found.name, whole)
                waits = waits or not whole
            if waits:
                waiting.write(_to_line(index, found.name, outcome, digest))
                count += 1
            else:
                yield found.name, _unless_copy(index, outcome, best.get(digest))
        waiting.seek(0)
        for _ in range(count):
            index, name, outcome, digest = _from_line(waiting.readline())
            yield name, _unless_copy(index, outcome, best.get(digest))


def _to_line(index: int, name: str, outcome: ExistingLabel | Failed, digest: str) -> bytes:
    """Return a line of JSON, of which ``_from_line`` makes the same again."""
    parts = [index, name, type(outcome).__name__, asdict(outcome), digest]
    return json.dumps(parts, default=lambda array: array.tolist()).encode() + b"\n"


def _from_line(line: bytes) -> tuple[int, str, ExistingLabel | Failed, str]:
    index, name, kind, parts, digest = json.loads(line)
    if kind == "Failed":
        return index, name, Failed(**{**parts, "reason": FailureReason(parts["reason"])}), digest
    settings, cell, notes = RunSettings(**parts["settings"]), np.array(parts["cell"]), tuple(parts["notes"])
    return index, name, ExistingLabel(settings, cell, parts["row"], notes), digest


def _unless_copy(
    index: int, outcome: ExistingLabel | Failed, kept: tuple[int, str, bool] | None
) -> ExistingLabel | Failed:
    """Return the outcome of a run, or, for a label, of which other one it is a copy."""
    if isinstance(outcome, Failed) or kept is None or kept[0] == index:
        return outcome
    return Failed(FailureReason.DUPLICATE, f"its vasprun.xml is, byte by byte, that of {kept[1]}")


def _outcome(found: FoundRun) -> tuple[ExistingLabel | Failed, str]:
    with tempfile.TemporaryDirectory(prefix="pesatlas-run-") as temporary:
        try:
            return _read(found, Path(temporary))
        except Exception as error:  # noqa: BLE001 - parsers of foreign files raise anything; it costs this run alone
            detail = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return Failed(FailureReason.BAD_OUTPUT, detail[:_LONGEST]), ""


def _read(found: FoundRun, folder: Path) -> tuple[ExistingLabel | Failed, str]:
    """Return the label of a run or why there is none, and a hash of its ``vasprun.xml``."""
    if found.unreadable:
        return Failed(FailureReason.UNREADABLE, f"the archive cannot be read ({found.unreadable})"), ""
    if found.vasprun is None:
        detail = "an OUTCAR without vasprun.xml: the settings and k-points of VASP are unknown"
        return Failed(FailureReason.INCOMPLETE, detail), ""
    file, digest = folder / "vasprun.xml", ""
    try:
        with open_file(found.vasprun) as packed, file.open("wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
        with file.open("rb") as handle:
            digest = hashlib.file_digest(handle, "blake2b").hexdigest()
        steps = count_steps(file)
        if steps > 1:
            detail = f"{steps} ionic steps: a relaxation or dynamics; a label is a static calculation of one"
            return Failed(FailureReason.NOT_STATIC, detail), digest
        return _read_static(found, file), digest
    except (TornError, EOFError) as error:
        return Failed(FailureReason.CRASHED, f"truncated output: {error}"), digest
    except BadOutputError as error:
        return Failed(FailureReason.BAD_OUTPUT, str(error)), digest


def _read_static(found: FoundRun, file: Path) -> ExistingLabel | Failed:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = read_run(file)
        header = read_header(file)
        outcar = read_outcar(found.outcar) if found.outcar else None
    structure = _structure(header) or run.structure
    notes = [] if outcar else [NO_OUTCAR]
    if outcar is not None and outcar.moments_muB is None and outcar.spin == "collinear":
        # of an own label that is a failure, for r2SCAN starts from them; here it is a null that says why
        outcar = replace(outcar, spin="none")
        notes.append(NO_MOMENTS)
    if outcar is not None and outcar.vdw_eV and not header.settings.get("IVDW"):
        # a VASP with a correction that its vasprun.xml does not tell
        told = {**header.settings.incar, "IVDW": f"not told, but OUTCAR has vdW of {outcar.vdw_eV:.4f} eV"}
        header = replace(header, settings=replace(header.settings, incar=told))
    failed = _fault(structure, run, outcar)
    if failed:
        return failed
    try:
        # the same decision as for a frame of any other file: an atom in a box is no crystal
        check_usable(
            Frame(np.array(structure.atomic_numbers), structure.lattice.matrix, structure.cart_coords)
        )
    except UnusableFrame as why:
        return Failed(why.reason, why.detail)
    notes += [_first_line(each, file.parent) for each in caught if issubclass(each.category, UserWarning)]
    return _label(found.name, header, structure, run, outcar, tuple(dict.fromkeys(notes)))


def _first_line(warning: warnings.WarningMessage, folder: Path) -> str:
    lines = str(warning.message).replace(f"{folder}/", "").strip().splitlines()
    return lines[0][:_LONGEST] if lines else warning.category.__name__


def _fault(structure: Structure, run: Run, outcar: Outcar | None) -> Failed | None:
    """Return why the outputs are no label, by the rules for own calculations.

    What their level is comes later.
    """
    if outcar is not None:
        metagga = str(run.incar.get("METAGGA", "--")).upper().replace("NONE", "--")
        functional: Any = "PBE" if metagga == "--" else metagga
        own = Inputs(functional, {}, structure, list(range(len(structure))), [])
        return find_fault(own, {}, run, outcar, run.version)
    # vasprun.xml is whole, else it could not be read
    if not run.converged_electronic:
        return Failed(FailureReason.NOT_CONVERGED, f"no convergence in {run.scf_steps} SCF steps")
    if run.forces.shape != structure.cart_coords.shape or run.stress.shape != (3, 3):
        shapes = f"forces of shape {run.forces.shape}, stress of shape {run.stress.shape}"
        return Failed(FailureReason.BAD_OUTPUT, shapes)
    values = [run.energy_eV, run.free_energy_eV, *run.forces.ravel(), *run.stress.ravel()]
    if not np.isfinite(values).all():
        return Failed(FailureReason.NOT_FINITE, "energy, forces or stress are not finite")
    return None


def _structure(header: RunHeader) -> Structure | None:
    if header.cell is None or header.positions is None:
        return None
    return Structure(
        Lattice(header.cell), header.numbers.tolist(), header.positions, coords_are_cartesian=True
    )


def _label(
    name: str,
    header: RunHeader,
    structure: Structure,
    run: Run,
    outcar: Outcar | None,
    notes: tuple[str, ...],
) -> ExistingLabel:
    cell = structure.lattice.matrix
    row = {
        "snapshot_id": name,
        "structure_id": name,
        "numbers": [int(site.specie.Z) for site in structure],
        "cell_A": cell.ravel().tolist(),
        "positions_A": structure.cart_coords.ravel().tolist(),
        "energy_eV": run.energy_eV,
        "free_energy_eV": run.free_energy_eV,
        "forces_eV_per_A": run.forces.ravel().tolist(),
        "stress_eV_per_A3": stress(run.stress),
        "magmoms_muB": outcar.moments_muB if outcar else None,
        "band_gap_eV": run.band_gap_eV,
        "code": f"vasp {header.settings.version}",
        "settings": json.dumps({**header.settings.as_json(), "notes": notes}),
    }
    return ExistingLabel(header.settings, np.array(cell), row, notes)
