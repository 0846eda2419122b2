"""Write the inputs that reproduce a label from the dataset alone, without the store."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import pesatlas
from pesatlas.atoms.geometry import canonical_order
from pesatlas.campaign.strain_test import read_strain_test
from pesatlas.dataset.convert import to_ase
from pesatlas.dataset.explain import label_rows
from pesatlas.errors import UserError

_NUMBERS = (
    "energy_eV",
    "free_energy_eV",
    "forces_eV_per_A",
    "stress_eV_per_A3",
    "magmoms_muB",
    "band_gap_eV",
)
_OF_ATOMS = ("numbers", "positions_A", "forces_eV_per_A", "magmoms_muB")
_PROGRAM = "pesatlas.label.backends._gpaw_static"

_COMPARE = '''"""Compare what was calculated with what the dataset has: largest differences, atom by atom and component by component."""

import json
from pathlib import Path

import numpy as np

made, label = (json.loads(Path(name).read_text()) for name in ("out.json", "label.json"))
if "failed" in made:
    raise SystemExit(f"the calculation failed: {made['detail']}")
pairs = {"energy": "energy_eV", "free_energy": "free_energy_eV", "forces": "forces_eV_per_A", "stress": "stress_eV_per_A3"}
for name, column in pairs.items():
    difference = np.abs(np.ravel(made[name]) - np.ravel(label[column])).max()
    print(f"{column:20s} differs by {difference:.2e}")
'''


_EVALUATE = '''"""Evaluate the potential again: reads in.json, writes out.json. If in.json has a relative path of weights, write where they are."""

import json
from pathlib import Path

import numpy as np

from pesatlas.label.backends.mlip import Options, evaluate
from pesatlas.potentials.loading import load_potential

job = json.loads(Path("in.json").read_text())
options = Options.model_validate({"potential": job["settings"]["potential"]})
potential = load_potential(options.potential, "cpu")
if potential.weights_hash != job["weights"]:
    raise SystemExit(f"other weights: {potential.weights_hash}, the label has {job['weights']}")
energy, forces, stress = evaluate(potential, *(np.array(job[name]) for name in ("numbers", "cell", "positions")))
made = {"energy": energy, "free_energy": energy, "forces": forces.tolist(), "stress": stress.tolist()}
Path("out.json").write_text(json.dumps(made))
'''


def reproduce(snapshot_id: str, results: Path, folder: Path, console: Console) -> None:
    """Write a folder for each level of a snapshot.

    Inputs as they were, the label to compare with, and what to run.

    Raises
    ------
    UserError
        If there is no such label, the folder is in use, or its code is not known.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists already and is not an empty folder. Name another one with --to.")
    atlas = pesatlas.open(results)
    rows = label_rows(atlas, snapshot_id)
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "campaign.json", atlas.manifest["configuration"])
    for level, found in rows.items():
        place = folder / level
        place.mkdir()
        settings = json.loads(found["settings"])
        order = _order(found, settings)
        row = _in_order(found, order)
        to_ase(row).write(place / "structure.extxyz")
        numbers = {name: row[name] for name in _NUMBERS}
        _write_json(place / "label.json", {"snapshot_id": snapshot_id, "order": order, **numbers})
        surface = atlas.manifest.get("surfaces", {}).get(level, {})
        about = {"code": row["code"], "fingerprint": row["level_fingerprint"], **surface}
        if test := read_strain_test(atlas.root, level, row["level_fingerprint"]):
            about["strain"] = test.model_dump(mode="json", exclude={"definition"})
        _write_json(place / "level.json", about)
        how = _write_inputs(row, settings, place)
        (place / "README.md").write_text(_readme(row, how), encoding="utf-8")
        console.print(f"[green]{place}[/green]: {how}")


def _order(row: dict[str, Any], settings: dict[str, Any]) -> list[int]:
    """Return which atom of the row each atom of the calculation is.

    Moments in the settings belong to the calculation's.
    """
    positions = np.reshape(row["positions_A"], (-1, 3))
    order = canonical_order(np.array(row["numbers"]), positions)
    if "incar" in settings:
        from pesatlas.label.vasp.inputs import crystal  # noqa: PLC0415 - slow to import

        numbers = np.array(row["numbers"])[order]
        poscar = crystal(numbers, np.reshape(row["cell_A"], (3, 3)), positions[order]).get_sorted_structure()
        order = order[poscar.site_properties["task_index"]]
    return [int(i) for i in order]


def _in_order(row: dict[str, Any], order: list[int]) -> dict[str, Any]:
    """Return the row with atom ``i`` being atom ``order[i]`` of the one given."""
    ordered = dict(row)
    for name in _OF_ATOMS:
        if row[name] is not None:
            ordered[name] = np.reshape(row[name], (len(order), -1))[order].ravel().tolist()
    return ordered


def _write_inputs(row: dict[str, Any], settings: dict[str, Any], place: Path) -> str:
    """Write the inputs of the code; return what to run."""
    if "incar" in settings:
        return _write_vasp(row, settings, place)
    if "potential" in settings:
        return _write_mlip(row, settings, place)
    if "cutoff_eV" in settings and "functional" in settings:
        return _write_gpaw(row, settings, place)
    _write_json(place / "settings.json", settings)
    return f"calculate structure.extxyz with settings.json ({row['code']})"


def _write_mlip(row: dict[str, Any], settings: dict[str, Any], place: Path) -> str:
    weights = json.loads(row["pseudopotentials"])["weights"]
    _write_json(place / "in.json", {**_geometry(row), "settings": settings, "weights": weights})
    (place / "calculate.py").write_text(_EVALUATE, encoding="utf-8")
    (place / "compare.py").write_text(_COMPARE, encoding="utf-8")
    return "python calculate.py && python compare.py"


def _geometry(row: dict[str, Any]) -> dict[str, Any]:
    atoms = to_ase(row)
    return {
        "numbers": row["numbers"],
        "cell": atoms.cell.array.tolist(),
        "positions": atoms.positions.tolist(),
    }


def _write_gpaw(row: dict[str, Any], settings: dict[str, Any], place: Path) -> str:
    job = {**_geometry(row), "settings": {**settings, "paw_folder": _paw_folder()}}
    _write_json(place / "in.json", job)
    program = importlib.util.find_spec(_PROGRAM)
    assert program is not None
    assert program.origin is not None
    shutil.copyfile(program.origin, place / "calculate.py")
    (place / "compare.py").write_text(_COMPARE, encoding="utf-8")
    return "OMP_NUM_THREADS=1 python calculate.py in.json out.json && python compare.py"


def _paw_folder() -> str:
    from pesatlas.levels.gpaw import paw_folder  # noqa: PLC0415

    try:
        return str(paw_folder())
    except UserError:
        return "FOLDER OF PAW DATA: setups of gpaw-data"


def _write_vasp(row: dict[str, Any], settings: dict[str, Any], place: Path) -> str:
    from pymatgen.io.vasp.inputs import Incar, Poscar  # noqa: PLC0415 - slow to import

    from pesatlas.label.vasp.inputs import crystal  # noqa: PLC0415 - slow to import

    Incar(settings["incar"]).write_file(place / "INCAR")
    cell, positions = np.reshape(row["cell_A"], (3, 3)), np.reshape(row["positions_A"], (-1, 3))
    Poscar(crystal(row["numbers"], cell, positions)).write_file(place / "POSCAR", significant_figures=16)
    spec = {"titles": settings.get("potcars", []), "sha256": json.loads(row["pseudopotentials"])}
    _write_json(place / "POTCAR.spec", spec)
    start = settings.get("start", "atomic densities and the moments in INCAR")
    return (
        f"join the POTCARs of POTCAR.spec in the order of POSCAR, start from {start}, run VASP "
        f"({row['code']})"
    )


def _readme(row: dict[str, Any], how: str) -> str:
    return "\n".join(
        [
            f"# {row['snapshot_id']} at {row['level']}",
            "",
            f"Made with {row['code']}; level fingerprint {row['level_fingerprint']}, key {row['label_key']}.",
            "",
            f"To give it again: `{how}`" if "python" in how else f"To give it again: {how}.",
            "",
            (
                "`label.json` is what the dataset has, `level.json` the level in full, `structure.extxyz` "
                "the structure with its label."
            ),
            (
                "Atoms are everywhere in the order of the calculation: its atom i is atom `order[i]` (in "
                "`label.json`) of the dataset's row."
            ),
            "The snapshot itself comes from the dynamics of `../campaign.json`, with its seed.",
            "",
        ]
    )


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
