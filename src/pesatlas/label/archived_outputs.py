"""Unpack the archived inputs and outputs of a calculation."""

import re
from collections.abc import Callable
from pathlib import Path

from pesatlas.atoms.elements import symbol_of
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
    try:
        number = number_of_atom(name)
    except ValueError as error:
        raise UserError(f"{name}: {error}.") from None
    if number is not None:
        made = _made(below(results, "atoms"), "atoms", ("element", symbol_of(number)))
        return _of_levels(settings, made, lambda level: content_key(task_of_atom(number, level)))
    columns = ["snapshot_id", "batch", "numbers", "cell_A", "positions_A"]
    rows = read_table(
        below(results, "selection"), "selection", columns, [("snapshot_id", "==", name)]
    ).to_pylist()
    if not rows:
        raise UserError(
            f"{name} is not in {below(results, 'selection')}. Give a snapshot_id that was selected, an "
            "isolated atom as atom:Si, or the label_key of a label (32 hexadecimal digits)."
        )
    made = _made(below(results, "labels", batch=rows[0]["batch"]), "labels", ("snapshot_id", name))
    return _of_levels(settings, made, lambda level: content_key(task_of(rows[0], level)))


def _made(path: Path, table: str, row: tuple[str, str]) -> dict[str, str]:
    """Return the keys of the labels that a table has, by level: also of a level that is another today."""
    if not path.is_file():
        return {}
    column, value = row
    rows = read_table(path, table, [column, "level", "label_key"], [(column, "==", value)]).to_pylist()
    return {each["level"]: each["label_key"] for each in rows}


def _of_levels(settings: Label, made: dict[str, str], key: Callable[[Level], str]) -> dict[str, str]:
    """Return the keys of all levels of the campaign.

    Those of failures follow from the level, which may need files that are not here (POTCARs); then these
    are left out.
    """
    keys: dict[str, str] = {name: made[name] for name in settings.levels if name in made}
    failed = [name for name in settings.levels if name not in made]
    if failed:
        try:
            keys |= {name: key(level) for name, level in levels_of(settings.backend, failed).items()}
        except UserError:
            if not keys:
                raise
    return keys
