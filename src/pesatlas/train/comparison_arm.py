"""One potential of a comparison: trained on one policy's picks for a share of the cost, tested by frame."""

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import file_name, folder_of
from pesatlas.config.compare import Compare
from pesatlas.config.section import digest
from pesatlas.config.train import Train
from pesatlas.potentials.batched import reproducible
from pesatlas.potentials.weights import load_matgl
from pesatlas.tables import write_table
from pesatlas.train.arms import read_arms
from pesatlas.train.data import Batches, Converter
from pesatlas.train.error_metrics import of_potential
from pesatlas.train.loss import labels
from pesatlas.train.model import elements_of
from pesatlas.train.scan import Piece, parts_of, scan
from pesatlas.train.training import train_potential

log = logging.getLogger(__name__)

ERRORS = file_name("arm_errors")


def train_arm(
    settings: Train,
    compare: Compare,
    level: str,
    run: tuple[str, float, int],
    *,
    results: Path,
    arms: Path,
    folder: Path,
    work: Path,
    store: Path,
    before: Sequence[Path] = (),
) -> None:
    """Train one potential of the comparison and write it to ``folder``, with the table ``arm_errors``.

    Its errors on the test.

    All take the same number of steps, that of ``train.epochs`` over the largest arm; so a smaller one has
    more epochs, and as many times the patience.

    Parameters
    ----------
    run : policy, share of the cost, seed
    level, results, folder, work, store, before : see ``train_potential``
    arms : table ``arms``

    Raises
    ------
    UserError
        As ``train_potential``.
    """
    policy, share, seed = run
    every = read_arms(compare, arms)
    (arm,) = (each for each in every if (each.policy, each.cost_share) == (policy, share))
    longer = max(len(each.picks) for each in every) / max(len(arm.picks), 1)
    more = {name: math.ceil(getattr(settings, name) * longer) for name in ("epochs", "patience")}
    same = settings.model_copy(update={**more, "retention_set": None})
    log.info("%s at %g of the cost: %d picks, %s", policy, share, len(arm.picks), more)
    train_potential(
        same,
        level,
        seed,
        results=results,
        folder=folder,
        work=work,
        store=store,
        before=before,
        only=arm.picks,
    )
    merged = read_campaign_manifest(results).get("surfaces", {}).get(level, {}).get("fingerprints", [])
    pieces = scan(parts_of(results / folder_of("dataset"), level), level, merged, arm.picks).pieces["test"]
    device = torch.device(settings.device)
    potential = load_matgl(folder).to(device)
    head = {"arm": policy, "cost_share": share, "seed": seed, "level": level}
    rows = [head | row for row in frame_errors(pieces, potential, settings.batch_size, device)]
    write_table(folder / ERRORS, "arm_errors", rows, digest(same.identity(), run))


def frame_errors(
    pieces: Sequence[Piece], potential: Any, size: int, device: torch.device
) -> Iterator[dict[str, Any]]:
    """Yield the errors of a matgl ``Potential`` on each row, as table ``arm_errors`` has them.

    Parameters
    ----------
    pieces : the rows, of whose elements the potential knows all
    size : structures that are evaluated together
    """
    names = (row for piece in pieces for row in _names(piece))
    predict = of_potential(potential)
    converter = Converter(elements_of(potential), float(potential.model.cutoff))
    with reproducible(device):
        for batch in Batches(pieces, converter, size):
            here = batch.to(device)
            predicted, right = predict(here), labels(here)
            energies, forces, stresses = (
                (value.detach().double() - label).abs().cpu().numpy()
                for value, label in zip(predicted[:3], right[:3], strict=True)
            )
            ends = np.cumsum(batch.n_atoms.numpy())
            for k, atoms in enumerate(np.split(forces, ends[:-1])):
                yield next(names) | {
                    "energy_mae_meV_per_atom": 1000 * float(energies[k]),
                    "force_mae_meV_per_A": 1000 * float(atoms.mean()),
                    "stress_mae_GPa": float(stresses[k].mean()),
                }


def _names(piece: Piece) -> list[dict[str, Any]]:
    columns = ["snapshot_id", "structure_id", "condition", "n_atoms"]
    with pq.ParquetFile(piece.path) as file:
        rows = file.read_row_group(piece.group, columns=columns, use_threads=False).take(piece.rows)
    found: list[dict[str, Any]] = rows.to_pylist()
    return [row | {"equilibrium": row.pop("condition") == "equilibrium"} for row in found]
