"""Crystals as they were read, and other static cells, evaluated by the potential."""

from collections.abc import Container, Sequence

from pesatlas.config.explore import Explore
from pesatlas.dynamics.group import start_group
from pesatlas.dynamics.limits import check_evaluated
from pesatlas.dynamics.memory import Capacity
from pesatlas.explore.frame_checks import check_start
from pesatlas.explore.stored_frames import take_frames
from pesatlas.explore.trajectory import Commit, Trajectory
from pesatlas.potentials.chunks import chunks_by_atoms
from pesatlas.potentials.oom_retry import evaluate
from pesatlas.potentials.potential import Potential


def evaluate_equilibrium(
    crystals: Sequence[Trajectory],
    settings: Explore,
    potential: Potential,
    commit: Commit,
    missing: Container[str],
) -> None:
    """Evaluate ``crystals``, as many together as fit, and commit a frame or a failure for each.

    Parameters
    ----------
    missing : keys of those that the store does not have; others are evaluated only as their company
    """
    sound = []
    for crystal in crystals:
        failure = check_start(crystal.cell, crystal.positions, crystal.abort)
        if failure:
            commit(crystal, [], failure)
        else:
            sound.append(crystal)
    capacity = Capacity(potential.device, settings.max_atoms_in_memory)
    for run in chunks_by_atoms((len(crystal.numbers) for crystal in sound), capacity.atoms):
        chunk = sound[run.start : run.stop]
        if any(crystal.key in missing for crystal in chunk):
            _evaluate_chunk(chunk, potential, commit)


def _evaluate_chunk(
    crystals: Sequence[Trajectory],
    potential: Potential,
    commit: Commit,
) -> None:
    state = start_group(crystals, potential.device).state
    evaluation, failures, _ = evaluate(potential, state.batch)
    state = state.evaluated(evaluation)
    steps = [0] * len(crystals)
    failures = check_evaluated(state, steps) | failures
    frames = take_frames(state, dict(enumerate(steps)), moving=False)
    for i, crystal in enumerate(crystals):
        failure = failures.get(i)
        commit(crystal, [] if failure else [frames[i]], failure)
