"""The program that runs GPAW: ``python -m pesatlas.label.backends._gpaw_static in.json out.json``.

The only file that imports GPAW (GPL). It writes ``out.json`` when all of the label is there, so an output
that is there is whole; the density for charges comes after it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from gpaw import GPAW, KohnShamConvergenceError, setup_paths


def calculator(settings: dict[str, Any]) -> Any:
    """Return GPAW with these settings."""
    setup_paths[:] = [settings["paw_folder"]]
    isolated = settings["isolated"]
    # Hund's rule and whole occupations: with smearing, open p shells jump between solutions and never
    # converge.
    alone = {"hund": True, "occupations": {"name": "fermi-dirac", "width": 0.0, "fixmagmom": True}}
    crystal = {"occupations": {"name": "fermi-dirac", "width": settings["width_eV"]}}
    return GPAW(
        mode={"name": "pw", "ecut": settings["cutoff_eV"]},
        # An isolated atom is always made self-consistent in PBE: see pesatlas.levels.gpaw.
        xc="PBE" if isolated else settings["functional"],
        kpts={"size": settings["kpoints"], "gamma": True},
        spinpol=settings["moments_muB"] is not None,
        convergence=settings["convergence"],
        maxiter=settings["max_iterations"],
        txt="gpaw.txt",
        **(alone if isolated else crystal),
    )


def calculate(job: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return the results of one job, and the calculator that has its density."""
    settings = job["settings"]
    atoms = Atoms(numbers=job["numbers"], cell=job["cell"], positions=job["positions"], pbc=True)
    if settings["moments_muB"] is not None:
        atoms.set_initial_magnetic_moments(settings["moments_muB"])
    atoms.calc = calc = calculator(settings)
    energy = converge(atoms)
    free = atoms.get_potential_energy(force_consistent=True)
    if settings["isolated"]:
        shift = 0.0 if settings["functional"] == "PBE" else calc.get_xc_difference(settings["functional"])
        forces, stress = np.zeros((len(atoms), 3)), np.zeros(6)
    else:
        shift, forces, stress = 0.0, atoms.get_forces(), atoms.get_stress(voigt=True)
    results = {
        "numbers": atoms.numbers.tolist(),
        "cell": atoms.cell.array.tolist(),
        "positions": atoms.positions.tolist(),
        "energy": float(energy + shift),
        "free_energy": float(free + shift),
        "forces": forces.tolist(),
        "stress": stress.tolist(),
        "magmoms": None if settings["moments_muB"] is None else atoms.get_magnetic_moments().tolist(),
        "band_gap": None if settings["isolated"] else band_gap(calc),
        "scf_steps": int(calc.get_number_of_iterations()),
        "converged": True,
    }
    return results, calc


def write_density(calc: Any, target: Path) -> None:
    """Write the all-electron density of each spin, per Å³, and each atom's valence and core electrons."""
    spins = calc.get_number_of_spins()
    densities = (
        [calc.get_all_electron_density(gridrefinement=2)]
        if spins == 1
        else [calc.get_all_electron_density(spin=spin, gridrefinement=2) for spin in range(spins)]
    )
    data = calc.wfs.setups
    np.savez(target, spins=densities, valence=[each.Nv for each in data], core=[each.Nc for each in data])


class DivergedError(Exception):
    """Messages of a diverged SCF: NaN energies, a failed eigenvalue problem, no Fermi level."""


def converge(atoms: Atoms) -> float:
    """Make the calculation self-consistent; return the energy extrapolated to zero smearing, in eV."""
    try:
        return float(atoms.get_potential_energy())
    except (AssertionError, ValueError) as error:
        raise DivergedError(f"{type(error).__name__}: {str(error)[:200]}") from error


def band_gap(calc: Any) -> float:
    """Kohn-Sham gap in eV on the k-points of the calculation; 0 if a band crosses the Fermi level."""
    level = calc.get_fermi_level()
    tops, bottoms = [], []
    for spin in range(calc.get_number_of_spins()):
        bands = np.array(
            [calc.get_eigenvalues(kpt=k, spin=spin) for k in range(len(calc.get_ibz_k_points()))]
        )
        filled = (bands <= level).sum(axis=1)
        if len(set(filled)) > 1:
            return 0.0
        tops.append(bands[:, filled[0] - 1].max() if filled[0] else -np.inf)
        bottoms.append(bands[:, filled[0]].min() if filled[0] < bands.shape[1] else np.inf)
    gap = min(bottoms) - max(tops)
    return float(gap) if np.isfinite(gap) and gap > 0 else 0.0


def main(source: str, target: str) -> None:
    """Read a job, calculate, write the result or the reason why there is none."""
    job = json.loads(Path(source).read_text(encoding="utf-8"))
    calc = None
    try:
        result, calc = calculate(job)
    except KohnShamConvergenceError:
        result = {
            "failed": "not_converged",
            "detail": "the SCF did not converge in the iterations that the level allows",
        }
    except FileNotFoundError as error:
        result = {"failed": "missing_pseudopotential", "detail": str(error)[:200]}
    except DivergedError as error:
        result = {"failed": "not_converged", "detail": f"SCF diverged ({error})"}
    temporary = Path(f"{target}.part")
    temporary.write_text(json.dumps(result), encoding="utf-8")
    temporary.replace(target)
    if calc is not None and job.get("density"):
        write_density(calc, Path(job["density"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
