"""The gate: a potential is tested on well-known crystals before it drives dynamics.

Weights that are loaded under a wrong convention, or damaged, pass every test on elements, forces and short
dynamics. They fail on compounds: no energy minimum near the lattice constant, or a stress that is no
derivative of the energy.
"""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pesatlas.errors import UserError
from pesatlas.potentials.gate_crystals import Reference, made_up_for, references_for
from pesatlas.potentials.potential import Batch, Potential

log = logging.getLogger(__name__)

_SCAN = np.linspace(0.92, 1.08, 9)
_MAX_DEVIATION = 0.04
"""Of the lattice constant; functionals deviate from experiment by up to 2 %."""
_STRESS_AT = (0.97, 1.03)
_STEP = 0.003
_STRESS_RELATIVE = 0.1
"""Loose, because older potentials have kinks at the cutoff of up to 5 % of a difference quotient."""
_STRESS_FLOOR = 2e-3
"""eV/Å³ (0.3 GPa)."""


@dataclass(frozen=True)
class _Answers:
    """Energies (eV) and mean stress (trace / 3, eV/Å³) of one crystal on the grid of ``_scales``."""

    energies: NDArray[np.float64]
    stresses: NDArray[np.float64]


def pass_gate(potential: Potential) -> None:
    """Refuse a potential that is wrong about known crystals.

    Raises
    ------
    UserError
        Naming each crystal that failed, what was expected and found, and the remedy.
    """
    references = references_for(potential.elements)
    if references:
        problems = _problems(potential, references, minimum_known=True)
    else:
        references = [made_up_for(potential.elements)]
        log.warning(
            "%s knows none of the crystals of the gate; the gate only checks that its stress is the "
            "derivative of its energy, on a synthetic %s",
            potential.name,
            _names(references),
        )
        problems = _problems(potential, references, minimum_known=False)
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        older = (
            "matgl's weights from before version 2.2 (2025.1 and earlier) need `older_convention: true` with "
            f"`sha256: {potential.weights_hash}`. Other weights"
        )
        raise UserError(
            f"The potential {potential.name} does not pass the gate. Results for "
            f"{_names(references)}:\n{lines}\n"
            f"{older if potential.name.startswith('matgl/') else 'Its weights'} may be damaged, made for "
            "another version of the package, or trained on too few labels."
        )
    log.info("%s passed the gate: %s", potential.name, _names(references))


def _names(references: list[Reference]) -> str:
    return ", ".join(reference.name for reference in references)


def _scales() -> NDArray[np.float64]:
    """Lattice constants that are asked about, relative to the known one.

    The scan, then triples for derivatives.
    """
    triples = [x * (1 + d) for x in _STRESS_AT for d in (-_STEP, 0, _STEP)]
    return np.concatenate([_SCAN, triples])


def _problems(potential: Potential, references: list[Reference], *, minimum_known: bool) -> list[str]:
    problems = []
    for reference, answers in zip(references, _evaluate(potential, references), strict=True):
        if not (np.isfinite(answers.energies).all() and np.isfinite(answers.stresses).all()):
            problems.append(f"{reference.name}: energies or stresses are not finite")
            continue
        found = [_wrong_minimum(reference, answers)] if minimum_known else []
        found += [_wrong_stress(reference, answers, k) for k in range(len(_STRESS_AT))]
        problems += [problem for problem in found if problem]
    return problems


def _evaluate(potential: Potential, references: list[Reference]) -> list[_Answers]:
    """Evaluate all cells of all references in one batch."""
    scales = _scales()
    cells, positions, numbers, counts = [], [], [], []
    for reference in references:
        for scale in scales:
            cell, points = reference.geometry(scale * reference.a_A)
            cells.append(cell)
            positions.append(points)
            numbers += reference.numbers
            counts.append(len(points))
    batch = Batch(
        numbers=torch.tensor(numbers, device=potential.device),
        positions=torch.tensor(np.concatenate(positions), device=potential.device),
        cells=torch.tensor(np.array(cells), device=potential.device),
        n_atoms=torch.tensor(counts, device=potential.device),
    )
    evaluation = potential.evaluate(batch)
    energies = evaluation.energies.cpu().numpy().reshape(len(references), -1)
    traces = evaluation.stresses.diagonal(dim1=1, dim2=2).mean(1).cpu().numpy().reshape(len(references), -1)
    return [_Answers(e, s) for e, s in zip(energies, traces, strict=True)]


def _wrong_minimum(reference: Reference, answers: _Answers) -> str | None:
    energies = answers.energies[: len(_SCAN)]
    k = int(energies.argmin())
    a = reference.a_A
    if k in {0, len(_SCAN) - 1}:
        per_atom = energies / len(reference.symbols)
        return (
            f"{reference.name} ({reference.prototype}): no energy minimum between {_SCAN[0] * a:.2f} and "
            f"{_SCAN[-1] * a:.2f} Å, where {a:.3f} Å is measured: {per_atom[0]:.3f}, "
            f"{per_atom[len(_SCAN) // 2]:.3f}, {per_atom[-1]:.3f} eV/atom from end to end"
        )
    left, middle, right = energies[k - 1 : k + 2]
    minimum = (_SCAN[k] + 0.5 * (_SCAN[1] - _SCAN[0]) * (left - right) / (left - 2 * middle + right)) * a
    if abs(minimum / a - 1) > _MAX_DEVIATION:
        return (
            f"{reference.name} ({reference.prototype}): energy minimum at {minimum:.3f} Å, where {a:.3f} Å "
            f"is measured; within {_MAX_DEVIATION:.0%} is accepted"
        )
    return None


def _wrong_stress(reference: Reference, answers: _Answers, which: int) -> str | None:
    triple = slice(len(_SCAN) + 3 * which, len(_SCAN) + 3 * which + 3)
    volumes = [abs(np.linalg.det(reference.geometry(x * reference.a_A)[0])) for x in _scales()[triple]]
    energies, stress = answers.energies[triple], answers.stresses[triple][1]
    slope = (energies[2] - energies[0]) / (volumes[2] - volumes[0])
    if abs(stress - slope) <= _STRESS_RELATIVE * abs(slope) + _STRESS_FLOOR:
        return None
    return (
        f"{reference.name} ({reference.prototype}) at {_STRESS_AT[which] * reference.a_A:.3f} Å: a third of "
        f"the stress's trace is {stress:+.4f} eV/Å³, but dE/dV is {slope:+.4f} eV/Å³ (tension is positive)"
    )
