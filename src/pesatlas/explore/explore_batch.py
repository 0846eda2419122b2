"""Explore one batch: from a table of cells to a table of snapshots and a table of failures."""

import json
import logging
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pesatlas.config.campaign_info import CampaignInfo
from pesatlas.config.explore import Explore
from pesatlas.config.section import digest
from pesatlas.explore.checkpoint import Checkpoint
from pesatlas.explore.engine import Engine
from pesatlas.explore.equilibrium import evaluate_equilibrium
from pesatlas.explore.saturation import Saturation, load_saturation
from pesatlas.explore.stored_frames import Frame, pack, unpack
from pesatlas.explore.trajectory import Trajectory, read_trajectories
from pesatlas.explore.write_tables import Outcome, ends_written, write_tables
from pesatlas.potentials.device import check_device
from pesatlas.potentials.loading import load_potential, provenance_of
from pesatlas.potentials.potential import Potential, unknown_elements
from pesatlas.storage.atomic import atomic_path
from pesatlas.storage.ledger import Lock
from pesatlas.storage.store import Store, stores_at
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import Failure

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Endings:
    """Judge of trajectories, and the tables of what it found."""

    by: Saturation
    trajectories: Path
    features: Path


_NOT_FOR_THE_STORE = {FailureReason.OUT_OF_MEMORY, FailureReason.CRASHED}
"""Failures of a machine or a program rather than of the physics: tried again by the next run that asks."""


def run_md(
    settings: Explore,
    info: CampaignInfo,
    batch: int,
    *,
    structures: Path,
    snapshots: Path,
    failures: Path,
    work: Path,
    trajectories: Path | None = None,
    features: Path | None = None,
) -> None:
    """Run molecular dynamics of one batch of cells.

    Parameters
    ----------
    info : its seed, and its stores, which keep every finished trajectory
    batch : which rows of ``structures``
    structures : table ``structures``
    snapshots, failures : tables to write
    work : folder for what is under way; a folder for this batch is made in it, and removed at the end
    trajectories, features : tables to write where trajectories end when they are saturated: how each ended,
        and the features of its frames
    """
    check_device(settings.device, "explore.device")
    potential = load_potential(settings.potential, settings.device)
    store = stores_at(info.store, info.read_stores, "trajectories")
    saturation = load_saturation(settings)
    explore_batch(
        settings,
        info.seed,
        potential,
        store,
        batch=batch,
        structures=structures,
        snapshots=snapshots,
        failures=failures,
        work=work,
        endings=Endings(saturation, trajectories, features)
        if saturation and trajectories and features
        else None,
    )


def explore_batch(
    settings: Explore,
    seed: int,
    potential: Potential,
    store: Store,
    *,
    batch: int,
    structures: Path,
    snapshots: Path,
    failures: Path,
    work: Path,
    endings: Endings | None = None,
) -> None:
    """As ``run_md``, with a potential that is loaded already and the store of trajectories."""
    saturation = endings.by if endings else None
    wanted, n_structures = read_trajectories(
        structures, batch, settings, seed, potential, saturation.identity if saturation else ()
    )
    if saturation:
        saturation.check(each for each in wanted if each.moves)
    identity = digest(sorted({each.key for each in wanted}))
    folder = work / identity / f"{batch:05d}"
    # beside the folder, not in it: another job may wait for the lock while this one removes the folder
    with Lock(folder.with_name(f"{folder.name}.lock")):
        store.refresh()
        _compute(
            settings,
            potential,
            {each.key: each for each in wanted},
            store,
            saturation,
            segment=f"explore-{identity}-{batch:05d}",
            folder=folder,
        )
        store.refresh()
        ordered = sorted(wanted, key=lambda each: f"{each.name}:")

        outcomes = (Outcome(each, *unpack(_payload_of(each, store))) for each in ordered)
        fingerprint = digest(settings.identity(), seed, potential.name, potential.weights_hash)
        with ExitStack() as stack:
            seen: Iterable[Outcome] = outcomes
            if endings:
                # beside the snapshots: every trajectory is unpacked once
                ended = ends_written(
                    outcomes,
                    encoder=endings.by.encoder,
                    potential=potential,
                    fingerprint=digest(fingerprint, endings.by.identity),
                    trajectories=endings.trajectories,
                    features=endings.features,
                )
                seen = stack.enter_context(ended)
            write_tables(
                seen,
                n_structures=n_structures,
                potential=potential,
                about=provenance_of(settings.potential),
                fingerprint=fingerprint,
                snapshots=snapshots,
                failures=failures,
            )
        shutil.rmtree(folder, ignore_errors=True)


def _compute(
    settings: Explore,
    potential: Potential,
    wanted: Mapping[str, Trajectory],
    results: Store,
    saturation: Saturation | None,
    *,
    segment: str,
    folder: Path,
) -> None:
    """Compute what the store does not have; when this returns, the store has the outcome of everything."""
    missing = {key: each for key, each in wanted.items() if results.get(key) is None}
    if not missing:
        log.info("all %d trajectories and equilibrium crystals are in the store", len(wanted))
        return
    with results.writer(segment) as writer:

        def commit(trajectory: Trajectory, frames: list[Frame], failure: Failure | None) -> None:
            key = trajectory.key
            if failure and failure.reason in _NOT_FOR_THE_STORE:
                key = _unfit(key)
            if key not in writer and results.get(key) is None:
                writer.append(key, pack(frames, failure))

        asked = {key: unknown_elements(potential, each.numbers) for key, each in missing.items()}
        unknown = {key: failure for key, failure in asked.items() if failure}
        for key, failure in unknown.items():
            commit(missing[key], [], failure)
        known = {key: each for key, each in wanted.items() if key not in unknown}
        decided = _decided(folder / "computed.json", missing.keys())
        still = [each for key, each in known.items() if each.static and key in decided]
        evaluate_equilibrium(still, settings, potential, commit, missing)
        paths = [each for key, each in known.items() if each.path_end is not None and key in decided]
        if paths:
            from pesatlas.explore.minimum_energy_paths import relax_paths  # noqa: PLC0415 - ASE's bands take a second to import

            relax_paths(paths, settings, potential, commit, missing)
        moving = {key: each for key, each in known.items() if each.moves}
        checkpoint = Checkpoint(folder, digest(sorted(wanted)), potential.device)
        Engine(settings, potential, checkpoint, commit, saturation).run(moving, decided)


def _decided(path: Path, missing: Collection[str]) -> set[str]:
    """Return the keys of what this batch computes, which are decided once.

    A resumed job that left out what was stored since would evaluate other structures together than the job
    it goes on for, and a potential's last bits may depend on that.
    """
    if path.exists():
        try:
            return {*map(str, json.loads(path.read_bytes())), *missing}
        except ValueError as error:
            log.warning("%s cannot be read (%s): it is written again", path, error)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(sorted(missing)))
    return set(missing)


def _unfit(key: str) -> str:
    return f"{key}-unfit"


def _payload_of(trajectory: Trajectory, results: Store) -> bytes:
    payload = results.get(trajectory.key) or results.get(_unfit(trajectory.key))
    if payload is None:
        raise RuntimeError(f"{trajectory.name}: neither frames nor a failure were stored")
    return payload
