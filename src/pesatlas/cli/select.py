"""`pesatlas select`: the selection stage on files of frames."""

import os
import tempfile
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from pesatlas.campaign.layout import below
from pesatlas.campaign.load import load_campaign
from pesatlas.config.campaign import Campaign
from pesatlas.config.plugins import find, known
from pesatlas.encode.encode_shard import encode_snapshots
from pesatlas.errors import UserError
from pesatlas.frames import ase_rows, xyz
from pesatlas.frames.comment import as_value
from pesatlas.potentials.device import check_device
from pesatlas.select.select_frames import EncodedFrames, select_frames
from pesatlas.storage.atomic import atomic_path
from pesatlas.structures import readers
from pesatlas.structures.crystal import Crystal, Read
from pesatlas.structures.external import Origin, read_external
from pesatlas.tables import read_entry, read_table

_POLICIES = "pesatlas.select.policies"
# Clusters of structures and of atoms for each frame that is wanted: resolutions of the policy `cover` become
# as fine as the latter.
_STRUCTURES, _ATOMS = 0.25, 16
# `facility` hardly weights principal components, so that those that Kaiser's rule leaves out count: the rule
# keeps 5 of chgnet's features of 629 frames of Nb, Mo, Ta and W.
_COMPONENTS = {"facility": 16, "mixed": 16}


def select_files(
    files: list[str], reference: list[str], out: Path, *, settings: dict[str, Any], console: Console
) -> None:
    """Pick frames of ``files`` that cover most of them, and write these to ``out``, most wanted first.

    ``settings`` has ``count``, ``policy``, ``encoder`` (options of one), ``device``, ``min_distance_A`` and
    ``seed``.

    Raises
    ------
    UserError
        If ``out`` exists, has no known format or cannot hold frames of these files, or if there is nothing to
        read.
    """
    if out.exists():
        raise UserError(f"{out} exists already. Choose another name, or move it away.")
    if out.suffix not in {".extxyz", ".xyz", ".parquet"}:
        raise UserError(f"{out}: give it a name that ends in .extxyz or .parquet.")
    # before frames are encoded, which takes long
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise UserError(
            f"{out.parent.resolve()} does not exist, or you cannot write there. Choose another folder."
        )
    policies = known(_POLICIES)
    if settings["policy"] not in policies:
        raise UserError(
            f"--policy {settings['policy']}: there is no such policy. Choose one of {', '.join(policies)}."
        )
    if settings["policy"] == "disagree":
        raise UserError(
            "--policy disagree: it needs a committee of potentials, which only rounds of a campaign have. "
            "Use facility."
        )
    campaign = selection_settings(settings)
    check_device(campaign.encode.device, "--device")
    model: Any = campaign.encode.encoder
    find("pesatlas.encode.encoders", model.kind).check(model)
    with tempfile.TemporaryDirectory(prefix="pesatlas-select-") as temporary:
        work = Path(temporary)
        origins = read_external(files, work / "pool.parquet", work / "pool-failures.parquet")
        other = [o.path for o in origins if readers.format_of(o.path) != "parquet"]
        if out.suffix == ".parquet" and other:
            raise UserError(
                f"{out}: only frames of Parquet files can be written to Parquet, and {other[0]} is not "
                "Parquet. Choose a name that ends in .extxyz."
            )
        if reference:
            read_external(reference, work / "known.parquet", work / "known-failures.parquet")
        run_stage(campaign, work, known=bool(reference))
        picks = read_table(below(work, "selection"), "selection")
        counts = read_entry(below(work, "selection")).counts
        told = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
        if not len(picks):
            raise UserError(f"no frame can be picked, and {out} was not written: {told}.")
        chosen = [origins[step] for step in picks["step"].to_pylist()]
        _write(out, chosen, picks.select(["rank", "reason", "novelty"]).to_pylist())
        quality = read_table(below(work, "quality"), "quality").to_pylist()
    console.print(told)
    console.print(_quality_table(quality))
    fewer = len(chosen) < settings["count"]
    rest = f", of {settings['count']} that were asked for: there are no more" if fewer else ""
    console.print(f"{len(chosen)} frames are in {out}{rest}")


def selection_settings(settings: dict[str, Any]) -> Campaign:
    """Return the sections of a campaign that choose frames of files; see ``select_files``.

    ``settings`` may have a ``budget`` too, as ``select.budget``.
    """
    count = settings["count"]
    return load_campaign(
        {
            "campaign": {"seed": settings["seed"]},
            "structures": {"sources": [{"kind": "demo"}], "domains": [{"kind": "bulk"}]},
            "explore": {"potential": {"kind": "chgnet"}},
            "encode": {"encoder": settings["encoder"], "device": settings["device"]},
            "select": {
                "target": count,
                "include_equilibrium": False,
                "structure": {
                    "clusters": max(1, round(_STRUCTURES * count)),
                    "components": _COMPONENTS.get(settings["policy"], "kaiser"),
                },
                "atoms": {"clusters": _ATOMS * count},
                "min_distance_A": settings["min_distance_A"],
                "policy": {"kind": settings["policy"]},
                "budget": settings.get("budget"),
            },
            "label": {"backend": {"kind": "gpaw"}},
        },
        "options of `pesatlas select`, as a configuration has them",
        extensions=False,
    )


def run_stage(campaign: Campaign, work: Path, *, known: bool) -> None:
    """Encode and select frames of ``pool.parquet`` in ``work``, and leave the selection there.

    With ``known``, frames of ``known.parquet`` count as covered.
    """
    pool = _encoded(campaign, work, "pool")
    reference = _encoded(campaign, work, "known") if known else None
    select_frames(
        campaign.select,
        campaign.campaign.seed,
        [pool],
        work,
        structures_per_job=campaign.label.structures_per_job,
        reference=reference,
    )


def _encoded(campaign: Campaign, work: Path, name: str) -> EncodedFrames:
    snapshots, features, moments = (
        work / f"{name}{end}" for end in (".parquet", ".features.parquet", ".npz")
    )
    encode_snapshots(campaign.encode, snapshots, features, moments)
    return EncodedFrames([snapshots], [features], [moments])


def _write(out: Path, chosen: list[Origin], about: list[dict[str, Any]]) -> None:
    """Write the chosen entries with all their data, in this order."""
    with atomic_path(out) as temporary:
        if out.suffix == ".parquet":
            pq.write_table(_rows(chosen), temporary)
            return
        frames = _frames(chosen)
        with temporary.open("w", encoding="utf-8") as file:
            for origin, why in zip(chosen, about, strict=True):
                told = {f"pesatlas_{name}": value for name, value in why.items()}
                file.write(_extxyz(frames[origin], told))


def _extxyz(frame: Any, about: dict[str, Any]) -> str:
    """Return an entry as extended XYZ, with more in its comment.

    What was extended XYZ keeps its text, ids and labels as they were.
    """
    from ase.io.extxyz import key_val_dict_to_str, write_extxyz  # noqa: PLC0415 - ase is slow to import

    if isinstance(frame, xyz.Entry):
        comment = f"{frame.comment.rstrip()} {key_val_dict_to_str(about)}"
        return "\n".join([str(len(frame.lines)), comment, *xyz.lines_for_ase(frame), ""])
    frame.info |= about
    text = StringIO()
    write_extxyz(text, [frame])
    return text.getvalue()


def _rows(chosen: list[Origin]) -> pa.Table:
    """Rows of Parquet files that have the same columns."""
    tables, order = [], []
    for path in dict.fromkeys(origin.path for origin in chosen):
        mine = [i for i, origin in enumerate(chosen) if origin.path == path]
        tables.append(pq.read_table(path).take(pa.array([chosen[i].place for i in mine])))
        order += mine
    places = sorted(range(len(order)), key=order.__getitem__)
    return pa.concat_tables(tables).take(pa.array(places))


def _frames(chosen: list[Origin]) -> dict[Origin, Any]:
    """Return the chosen entries as they are in extended XYZ, else as ASE atoms.

    What a database says beside the geometry is kept.
    """
    found = {}
    for path in dict.fromkeys(origin.path for origin in chosen):
        wanted = {origin.place for origin in chosen if origin.path == path}
        for place, frame in enumerate(_entries(path)):
            if place in wanted:
                found[Origin(path, place)] = frame
                wanted.remove(place)
            if not wanted:
                break  # what follows may be unreadable
    return found


def _entries(path: Path) -> Iterator[Any]:
    kind = readers.format_of(path)
    if kind == "xyz":
        yield from xyz.entries(path)
    elif kind == "ase_database":
        yield from (_of_database(row) for row in ase_rows.database_rows(path))
    else:
        yield from (_of_crystal(found) for found in readers.read_file(path))


def _of_database(row: Any) -> Any:
    if isinstance(row, Exception):
        return None
    atoms = row.toatoms()
    atoms.info |= {key: as_value(v) if isinstance(v, str) else v for key, v in row.key_value_pairs.items()}
    return atoms


def _of_crystal(found: Read) -> Any:
    from ase import Atoms  # noqa: PLC0415 - as above

    if not isinstance(found, Crystal):
        return None
    info = {"structure_id": as_value(found.structure_id)}
    return Atoms(found.numbers, found.positions, cell=found.cell, pbc=True, info=info)


def _quality_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(
        title="Distance of the atoms of a sample of frames, at most half of them, to the nearest atom of a "
        "pick, in weighted principal components"
    )
    for name in ("frames", "picked: mean", "99 %", "largest", "random: mean", "99 %", "largest"):
        table.add_column(name, justify="right")
    found = {(row["of"], row["picks"]): row for row in rows}
    for count in sorted({row["picks"] for row in rows}):
        cells = [
            f"{found[of, count][f'fill_{what}_atoms']:.3g}" if (of, count) in found else "-"
            for of in ("picks", "random")
            for what in ("mean", "p99", "max")
        ]
        table.add_row(str(count), *cells)
    return table
