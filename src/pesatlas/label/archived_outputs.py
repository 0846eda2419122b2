"""Unpack the archived inputs and outputs of a calculation."""

import re
from pathlib import Path
from typing import Any

from pesatlas.campaign.layout import below
from pesatlas.config.campaign_info import CampaignInfo
from pesatlas.config.label import Label
from pesatlas.errors import UserError
from pesatlas.label.archive import unpack
from pesatlas.label.batch import task_of
from pesatlas.label.calculate import content_key
from pesatlas.label.isolated_atoms import number_of_atom, task_of_atom
from pesatlas.levels.level import Level
from pesatlas.levels.lookup import levels_of
from pesatlas.storage.store import stores_at
from pesatlas.tables import read_table

_KEY = re.compile(r"[0-9a-f]{32}")


def unpack_outputs(settings: Label, info: CampaignInfo, results: Path, name: str, folder: Path) -> list[Path]:
    """Unpack what is archived of one calculation into ``folder``; return the files.

    Parameters
    ----------
    name : str The ``label_key`` of a label; or a ``snapshot_id``, or an isolated atom as ``atom:Si``, of
        which every level gets a folder of its own.

    Raises
    ------
    UserError
        If there is nothing of that name, nothing archived, or the folder holds files already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists already and is not an empty folder. Name another one with --to.")
    store = stores_at(info.store, info.read_stores, "outputs")
    store.refresh()
    keys = {"": name} if _KEY.fullmatch(name) else _keys(settings, results, name)
    found = {level: payload for level, key in keys.items() if (payload := store.get(key))}
    if not found:
        raise UserError(
            f"nothing of {name} is archived in {store.folder}. Either it has not been calculated, or "
            "label.keep_outputs was false when it was."
        )
    return [path for level, payload in found.items() for path in unpack(payload, folder / level)]


def _keys(settings: Label, results: Path, name: str) -> dict[str, str]:
    """Return the content keys of a snapshot or an isolated atom by level."""
    levels = levels_of(settings.backend, settings.levels)
    try:
        number = number_of_atom(name)
    except ValueError as error:
        raise UserError(f"{name}: {error}.") from None
    if number is not None:
        return {level.name: content_key(task_of_atom(number, level)) for level in levels.values()}
    columns = ["snapshot_id", "batch", "numbers", "cell_A", "positions_A"]
    rows = read_table(
        below(results, "selection"), "selection", columns, [("snapshot_id", "==", name)]
    ).to_pylist()
    if not rows:
        raise UserError(
            f"{name} is not in {below(results, 'selection')}. Give a snapshot_id that was selected, an "
            "isolated atom as atom:Si, or the label_key of a label (32 hexadecimal digits)."
        )
    return _of_snapshot(rows[0], levels, results)


def _of_snapshot(row: dict[str, Any], levels: dict[str, Level], results: Path) -> dict[str, str]:
    keys = {name: content_key(task_of(row, level)) for name, level in levels.items()}
    labels = below(results, "labels", batch=row["batch"])
    if labels.is_file():
        # a label may have been made when the level was another, e.g. with an earlier version of the code
        chosen = [("snapshot_id", "==", row["snapshot_id"])]
        made = read_table(labels, "labels", ["snapshot_id", "level", "label_key"], chosen).to_pylist()
        keys |= {each["level"]: each["label_key"] for each in made if each["level"] in levels}
    return keys
