"""Minimum energy paths between two states of a cell; their images are the frames.

Both states are relaxed in their cell, which is kept. Images between them are put where pair distances change
evenly (image dependent pair potential, Smidstrup et al., J. Chem. Phys. 140, 214106 (2014)), then moved by
the nudged elastic band: tangents of Henkelman & Jónsson (J. Chem. Phys. 113, 9978 (2000)), in the end with an
image that climbs to the saddle (Henkelman et al., J. Chem. Phys. 113, 9901 (2000)). Bands and their optimiser
are ASE's; the images of many bands are evaluated together.
"""

import logging
from collections.abc import Container, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.mep import NEB, idpp_interpolate
from ase.optimize import FIRE

from pesatlas.config.explore import Explore
from pesatlas.dynamics.memory import Capacity
from pesatlas.dynamics.relax import Relaxed, Settings, Start, relax, to_batch
from pesatlas.explore.frame_checks import check_frame, check_start
from pesatlas.explore.stored_frames import Frame, make_frame
from pesatlas.explore.trajectory import Commit, Trajectory
from pesatlas.potentials.chunks import chunks_by_atoms
from pesatlas.potentials.oom_retry import evaluate
from pesatlas.potentials.potential import VOIGT, Potential
from pesatlas.runtime.progress import report
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import Failure

log = logging.getLogger(__name__)

# what follows decides a path: PATHS_VERSION changes with it
_STATES = Settings(fmax_eV_per_A=0.05, max_steps=500, relax_cell=False)
_FMAX_EV_PER_A, _CLIMB_BELOW_EV_PER_A, _MAX_STEPS = 0.1, 0.5, 200
_SAME_STATE_A = 0.3
_NO_SYMMETRY_AXIS = (0.267, 0.535, 0.802)
_BEND_A = 0.4

_STEPS_PER_LINE = 25


def relax_paths(
    paths: Sequence[Trajectory],
    settings: Explore,
    potential: Potential,
    commit: Commit,
    missing: Container[str],
) -> None:
    """Find the path of each of ``paths``, as many together as fit, and commit its images.

    A path that has not converged after 200 steps keeps its images, with a failure beside them.

    Parameters
    ----------
    missing : keys of those that the store does not have; others are relaxed only as their company
    """
    sound = []
    for path in paths:
        wrong = [failure for x in _states(path) if (failure := check_start(path.cell, x, path.abort))]
        if wrong:
            commit(path, [], wrong[0])
        else:
            sound.append(path)
    capacity = Capacity(potential.device, settings.max_atoms_in_memory)
    for run in chunks_by_atoms((len(path.numbers) * path.images for path in sound), capacity.atoms):
        report("trajectories", run.start, len(sound))
        chunk = sound[run.start : run.stop]
        if any(path.key in missing for path in chunk):
            _relax_chunk(chunk, potential, commit)


def _relax_chunk(paths: Sequence[Trajectory], potential: Potential, commit: Commit) -> None:
    bands = []
    ends = relax(potential, [Start(p.numbers, p.cell, x) for p in paths for x in _states(p)], _STATES)
    for i, path in enumerate(paths):
        states = _both(*ends[2 * i : 2 * i + 2])
        if isinstance(states, Failure):
            log.info("%s: no path, %s", path.name, states.detail)
            commit(path, [], states)
        else:
            bands.append(_Band(path, *states))
    for step in range(_MAX_STEPS + 1):
        if not bands:
            return
        if step % _STEPS_PER_LINE == 0:
            log.info("paths: %d under way after %d of at most %d steps", len(bands), step, _MAX_STEPS)
        failures = _evaluate(bands, potential)
        going = []
        for i, band in enumerate(bands):
            failure = failures.get(i) or band.look(step)
            if i in failures:
                commit(band.path, [], failure)
            elif failure or band.converged:
                log.info("%s: %s", band.path.name, failure.detail if failure else band.found(step))
                commit(band.path, *band.frames(failure))
            else:
                band.move()
                going.append(band)
        bands = going


def _states(path: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions (n, 3) in Å of both states."""
    if path.path_end is None:
        raise ValueError(f"{path.name} is not a path")
    return path.positions, path.path_end


def _both(first: Relaxed | Failure, last: Relaxed | Failure) -> tuple[np.ndarray, np.ndarray] | Failure:
    """Return the positions of two relaxed states, or why there is no path between them."""
    if isinstance(first, Failure):
        return Failure(first.reason, f"the first state: {first.detail}")
    if isinstance(last, Failure):
        return Failure(last.reason, f"the last state: {last.detail}")
    farthest = float(np.linalg.norm(last.positions - first.positions, axis=1).max())
    if farthest < _SAME_STATE_A:
        return Failure(
            FailureReason.NOT_APPLICABLE,
            f"both states relax to the same one: no atom moves by more than {farthest:.2g} Å between them",
        )
    return first.positions, last.positions


class _Band:
    """A path under way.

    Attributes
    ----------
    path : what is computed
    images : of the path, both states included; each knows what the potential said of it
    converged : whether no image feels a force across the path any more, and the highest one none along it
    """

    def __init__(self, path: Trajectory, first: np.ndarray, last: np.ndarray) -> None:
        self.path = path
        self.images = _first_guess(path, first, last)
        self.converged = False
        self._neb = NEB(self.images, method="improvedtangent")
        self._fire = FIRE(self._neb, logfile=None)

    @property
    def unknown(self) -> list[Atoms]:
        """The images that the potential has not seen as they are."""
        return [image for image in self.images if image.calc is None or image.calc.check_state(image)]

    def look(self, step: int) -> Failure | None:
        """Take note of the forces of the band; return a failure after the last step."""
        largest, energies = _largest(self._neb.get_forces()), self._neb.energies
        rises = energies[1:-1].max() > max(energies[0], energies[-1])
        if not self._neb.climb and rises and largest < _CLIMB_BELOW_EV_PER_A:
            self._neb.climb = True
            largest = _largest(self._neb.get_forces())
        self.converged = largest <= _FMAX_EV_PER_A and bool(self._neb.climb or not rises)
        if self.converged or step < _MAX_STEPS:
            return None
        return Failure(
            FailureReason.NOT_CONVERGED,
            f"the force on the path is {largest:.2g} eV/Å after {_MAX_STEPS} steps (wanted: "
            f"{_FMAX_EV_PER_A:g})",
        )

    def move(self) -> None:
        """Take a step."""
        self._fire.step()

    def found(self, step: int) -> str:
        """Return a description of the path, with energies of the potential."""
        first, highest, last = self._neb.energies[0], self._neb.energies.max(), self._neb.energies[-1]
        return (
            f"path found after {step} steps, barrier {highest - first:.3g} eV, {highest - last:.3g} eV the "
            "other way"
        )

    def frames(self, failure: Failure | None) -> tuple[list[Frame], Failure | None]:
        """Return the images as frames, and problems: images with atoms too close are left out."""
        good = []
        for i, image in enumerate(self.images):
            said = image.calc.results
            frame = make_frame(
                i,
                image.cell.array,
                image.positions,
                energy=said["energy"],
                stress=said["stress"],
                largest_force=_largest(said["forces"]),
            )
            close = check_frame(frame, self.path.abort)
            if close:
                failure = failure or close
            else:
                good.append(frame)
        return good, failure


def _largest(forces: np.ndarray) -> float:
    return float(np.linalg.norm(forces, axis=1).max())


def _first_guess(path: Trajectory, first: np.ndarray, last: np.ndarray) -> list[Atoms]:
    """Return images between two states.

    A straight line may lead through an atom, so the one that moves most is bent past it.
    """
    atoms = Atoms(path.numbers, cell=path.cell, positions=first, pbc=True)
    images = [atoms.copy() for _ in range(path.images)]
    images[-1].positions = last
    band = NEB(images, method="improvedtangent")
    band.interpolate()
    way = last - first
    mover = int(np.argmax(np.linalg.norm(way, axis=1)))
    # to one side, the same every time
    aside = np.cross(way[mover], _NO_SYMMETRY_AXIS)
    for i, image in enumerate(images[1:-1], start=1):
        bend = _BEND_A * np.sin(np.pi * i / (path.images - 1))
        image.positions[mover] += bend * aside / np.linalg.norm(aside)
    idpp_interpolate(band, traj=None, log=None, fmax=0.02, mic=True, steps=300)
    for image in images:
        image.calc = None
    return images


def _evaluate(bands: Sequence[_Band], potential: Potential) -> dict[int, Failure]:
    """Set the predictions of the images of all bands.

    Return what failed, by place in ``bands``.
    """
    asked = [(i, image) for i, band in enumerate(bands) for image in band.unknown]
    if not asked:
        # steps have become too short to move anything: where forces jump, as some potentials' do, no path is
        # found
        return {}
    batch = to_batch([Start(x.numbers, x.cell.array, x.positions) for _, x in asked], potential.device)
    found, failures, _ = evaluate(potential, batch)
    energies, forces, stresses = (x.cpu().numpy() for x in (found.energies, found.forces, found.stresses))
    broken: dict[int, Failure] = {}
    atoms = 0
    for k, (i, image) in enumerate(asked):
        own = forces[atoms : atoms + len(image)]
        atoms += len(image)
        if k in failures:
            broken[i] = failures[k]
        elif not (np.isfinite(energies[k]) and np.isfinite(own).all() and np.isfinite(stresses[k]).all()):
            broken[i] = Failure(
                FailureReason.NOT_FINITE, "energy, forces or stress of an image are not finite"
            )
        else:
            image.calc = SinglePointCalculator(
                image, energy=energies[k], forces=own, stress=stresses[k][VOIGT]
            )
    return broken
