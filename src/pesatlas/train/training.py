"""Train one potential: from the dataset of a level to a folder for matgl, with card and history."""

import json
import logging
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pesatlas import __version__
from pesatlas.atoms.elements import symbol_of
from pesatlas.campaign.caveats import caveats
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import below, file_name, folder_of
from pesatlas.campaign.splits import SPLITS
from pesatlas.config.section import digest
from pesatlas.config.train import Train
from pesatlas.errors import UserError
from pesatlas.potentials.device import check_device
from pesatlas.potentials.identity import versions
from pesatlas.potentials.kinds import matgl
from pesatlas.potentials.loading import load_potential
from pesatlas.potentials.weights import MODEL_FILES, directory_sha256
from pesatlas.storage.atomic import atomic_path, write_text
from pesatlas.storage.ledger import Lock
from pesatlas.tables import check_entry, write_table
from pesatlas.train import training_process, training_state
from pesatlas.train.data import Converter
from pesatlas.train.error_metrics import errors, of_means, of_potential
from pesatlas.train.loop import Training, fabric_of
from pesatlas.train.model import base_potential, elements_of, new_potential, references
from pesatlas.train.model_card import page
from pesatlas.train.retention_set import RetentionSet, read_retention_set
from pesatlas.train.scan import Scanned, names, parts_of, scan
from pesatlas.train.training_state import TrainingState

log = logging.getLogger(__name__)

LIBRARIES = ("matgl", "torch", "lightning")
CARD, PAGE, HISTORY = map(file_name, ("potential_card", "potential_page", "potential_history"))


def train_potential(
    settings: Train,
    level: str,
    seed: int,
    *,
    results: Path,
    folder: Path,
    work: Path,
    store: Path,
    before: Sequence[Path] = (),
    only: Collection[str] | None = None,
) -> None:
    """Train the potential of one seed as section ``train`` says, and write it.

    What is under way is kept in ``work``, and goes on when the same is asked for again; what was finished
    once is kept in the campaign's store, by dataset, settings, seed and versions of the libraries.

    Parameters
    ----------
    level : reference level of the labels that it learns
    results : folder of the campaign's results, with its manifest, its dataset and its isolated atoms
    folder : gets model.json, model.pt, state.pt, card.json, card.md and the table ``history``
    work : folder for what is under way
    store : folder of what is never calculated twice
    before : datasets of the rounds before at this level, which it learns from too
    only : snapshots to train on and to validate with; None: all

    Raises
    ------
    UserError
        If the dataset has more than one level definition at this level, or the base or the device does not
        fit.
    """
    check_device(settings.device, "train.device")
    task = _prepare(settings, level, seed, results, before, only)
    workdir = work / task.key
    finished = store / "potentials" / f"{task.key}.pt"
    with Lock(work / f"{task.key}.lock"):
        state = training_state.load(finished)
        if state is None:
            state = _train(task, workdir)
            training_state.save(finished, state)
        else:
            log.info("this potential is in the store: nothing is trained again")
        _write(task, state, folder)
        shutil.rmtree(workdir, ignore_errors=True)


@dataclass(frozen=True)
class _Task:
    """A training task: settings and data.

    Attributes
    ----------
    datasets : files of the dataset, and of those of the rounds before
    hashes : sha256 of each
    energies : that the elements of a new potential start from, eV
    """

    settings: Train
    seed: int
    datasets: list[Path]
    manifest: Mapping[str, Any]
    hashes: dict[str, str]
    found: Scanned
    energies: tuple[float, ...]
    retention_set: RetentionSet | None

    @property
    def base_hash(self) -> str | None:
        """Checksum of the weights of the base, if there is one."""
        return None if self.settings.base is None else directory_sha256(self.settings.base.folder())

    @property
    def key(self) -> str:
        """Key of everything that decides the weights."""
        other = {
            "seeds",
            "kept",
            "level",
            "base",
            *(["architecture", "references"] if self.base_hash else []),
        }
        settings = {name: value for name, value in self.settings.identity().items() if name not in other}
        return digest(
            settings,
            self.base_hash,
            self.found.level,
            self.hashes,
            self.energies,
            self.seed,
            versions(*LIBRARIES),
            *([] if self.found.only is None else [self.found.only]),
        )

    def potential(self) -> Any:
        """Return the potential before it is trained."""
        if self.settings.base is None:
            return new_potential(self.settings, self.found, self.energies, self.seed)
        return base_potential(self.settings, self.found)


def _prepare(
    settings: Train,
    level: str,
    seed: int,
    results: Path,
    before: Sequence[Path],
    only: Collection[str] | None,
) -> _Task:
    manifest = read_campaign_manifest(results)
    paths = parts_of(results / folder_of("dataset"), level)
    hashes = {path.name: check_entry(path).sha256 for path in paths}
    hashes |= {f"{i} rounds before": check_entry(path).sha256 for i, path in enumerate(before, start=1)}
    paths += before
    merged = manifest.get("surfaces", {}).get(level, {}).get("fingerprints", [])
    found = scan(paths, level, merged, only)
    for split, rows in found.left_out.items():
        if rows:
            log.warning("%s: %d rows left out, with elements that the split train does not have", split, rows)
    if not found.rows("valid"):
        log.warning(
            "the split valid is empty, so there is no early stopping: all %d epochs are trained",
            settings.epochs,
        )
    new = settings.base is None
    energies = references(settings, found, below(results, "atoms")) if new else ()
    log.info(
        "%s: %d rows to train on, %d to validate, %d to test; elements %s",
        level, found.rows("train"), found.rows("valid"), found.rows("test"), names(found.elements),
    )  # fmt: skip
    retention_set = None
    if settings.retention_set is not None:
        retention_set = read_retention_set(
            settings.retention_set, level, elements_of(base_potential(settings, found))
        )
    return _Task(settings, seed, paths, manifest, hashes, found, energies, retention_set)


def _train(task: _Task, workdir: Path) -> TrainingState:
    """Train to the end, in this process or in one for each device."""
    path = workdir / "checkpoint.pt"
    potential = task.potential()
    if task.settings.devices == 1:
        return Training(task.settings, potential, task.found, task.seed, path).run(fabric_of(task.settings))
    training_process.start(task.settings, task.datasets, task.found, task.energies, task.seed, workdir)
    state = training_state.load(path)
    assert state is not None
    return state


def _write(task: _Task, state: TrainingState, folder: Path) -> None:
    """Write the results; the card last, so that it stands for all of them."""
    before, after = task.potential(), task.potential()
    after.load_state_dict(state.best)
    level = task.found.level
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch) / folder.name
        after.save(saved, metadata={"level": level, "level_fingerprints": list(task.found.fingerprints)})
        weights, gate = directory_sha256(saved), _gate(saved)
        for name in MODEL_FILES:
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(saved / name, temporary)
    scores = _scores(task, before, after)
    rows = [{"level": level, "seed": task.seed, "weights_hash": weights, **row} for row in state.history]
    write_table(folder / HISTORY, "history", rows, task.key)
    card = {
        "name": folder.name,
        "level": level,
        "level_fingerprints": list(task.found.fingerprints),
        "level_definition": task.manifest.get("surfaces", {}).get(level, {}).get("definition"),
        "caveats": caveats(dict(task.manifest)),
        "weights_sha256": weights,
        "elements": [symbol_of(number) for number in elements_of(after)],
        "gate": gate,
        "seed": task.seed,
        "settings": task.settings.identity(),
        "base_sha256": task.base_hash,
        "data": {
            "campaign": task.manifest["campaign"],
            "code_version": task.manifest["code_version"],
            "sha256": task.hashes,
            "rows": {split: task.found.rows(split) for split in SPLITS},
            "left_out_for_their_elements": task.found.left_out,
        },
        "scaling": {"data_mean_eV": float(after.data_mean), "data_std_eV": float(after.data_std)},
        "references": {
            "from": "base" if task.base_hash else task.settings.references,
            "energies_eV": _references(after),
        },
        "training": {
            "epochs": state.epoch,
            "steps": state.step,
            "best_epoch": state.best_epoch,
            "best_loss": state.best_loss,
            "wall_s": state.seconds,
            "devices": task.settings.devices,
            "device": task.settings.device,
        },
        "scores": scores,
        "kept": task.retention_set
        and {"sha256": task.retention_set.hashes, "left_out_for_their_elements": task.retention_set.left_out},
        "versions": {"pesatlas": __version__, **versions(*LIBRARIES)},
    }
    write_text(folder / PAGE, page(card))
    write_text(folder / CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    log.info("%s: weights %s", folder, weights[:12])


def _scores(task: _Task, before: Any, after: Any) -> list[dict[str, Any]]:
    """Return errors on the splits valid and test, and on the retention set; each with its level."""
    device = torch.device(task.settings.device)
    start = "untrained" if task.settings.base is None else "base"
    models = {"trained": of_potential(after.to(device)), start: of_potential(before.to(device))}
    converter = Converter(elements_of(after), float(after.model.cutoff))
    found = []
    for split in ("valid", "test"):
        if task.found.rows(split):
            guesses = {**models, "means": of_means(task.found)}
            rows = errors(task.found.pieces[split], converter, task.settings.batch_size, guesses, device)
            found += [{"level": task.found.level, "split": split, **row} for row in rows]
    if task.retention_set is not None:
        rows = errors(task.retention_set.pieces, converter, task.settings.batch_size, models, device)
        found += [{"level": task.found.level, "split": "kept", **row} for row in rows]
    after.to("cpu")
    return found


def _references(potential: Any) -> dict[str, float]:
    if potential.element_refs is None:
        return {}
    values = potential.element_refs.property_offset.tolist()
    return dict(zip(potential.model.element_types, values, strict=True))


def _gate(folder: Path) -> dict[str, Any]:
    """Return whether the potential passes the gate; one that fails is a result too."""
    try:
        load_potential(matgl.Options(path=folder), "cpu")
    except UserError as error:
        log.warning("it cannot explore: %s", error)
        return {"passed": False, "said": str(error)}
    return {"passed": True, "said": ""}
