"""The history of one row from crystal to label; for a missing row, where it ended and why."""

import json
from typing import Any

from pesatlas.dataset.atlas import Atlas
from pesatlas.dataset.not_selected import rejection_reason
from pesatlas.errors import UserError

Story = list[tuple[str, list[tuple[str, str]]]]
"""Chapters, each with lines of a name and what there is to say."""

_SUSPECT = 3


def explain(atlas: Atlas, snapshot_id: str) -> Story:
    """Return the story of a snapshot; of a crystal, if its ``structure_id`` is given, what became of it.

    Raises
    ------
    UserError
        If nothing of that name was ever there; the message says which are near.
    """
    structure_id = snapshot_id.split(":", maxsplit=1)[0]
    story: Story = [_crystal(atlas, snapshot_id, structure_id)]
    if snapshot_id == structure_id and atlas.find("structures", structure_id=structure_id):
        return [
            *story,
            ("what came of it", _of_crystal(atlas, structure_id)),
            *((f"labels at {level}", _labels(atlas, structure_id, level)) for level in atlas.levels),
        ]
    # a release has the snapshots that were picked, not the whole pool
    snapshots = [
        row for table in ("snapshots", "selection") for row in atlas.find(table, snapshot_id=snapshot_id)
    ]
    trajectory = snapshot_id.rpartition(":")[0]
    if not snapshots:
        ended = [row for row in atlas.find("failures", structure_id=structure_id) if row["stage"] != "label"]
        relevant = [
            row
            for row in ended
            if row["key"] in {structure_id, trajectory} or trajectory.startswith(row["key"])
        ]
        if not relevant:
            raise UserError(_unknown(atlas, snapshot_id, structure_id))
        return [*story, ("it is missing", [(row["stage"], _failure(row)) for row in relevant])]
    story.append(("snapshot", _snapshot(snapshots[0])))
    if atlas.unfinished and "selection" not in atlas.tables:
        return [*story, ("selection", [("not yet", "nothing is selected before all batches are encoded")])]
    story.append(("selection", _selection(atlas, snapshots[0])))
    if atlas.find("selection", snapshot_id=snapshot_id):
        story += [(f"label at {level}", _label(atlas, snapshot_id, level)) for level in atlas.levels]
    return story


def _crystal(atlas: Atlas, snapshot_id: str, structure_id: str) -> tuple[str, list[tuple[str, str]]]:
    variant = snapshot_id.split(":")[1] if ":" in snapshot_id else "unit"
    rows = atlas.find("structures", structure_id=structure_id)
    here = [row for row in rows if row["variant"] == variant] or rows
    lines = [("structure_id", structure_id)]
    for row in here[:1]:
        conditions = ", ".join(str(each["condition"]) for each in row["conditions"]) or "none"
        lines += [
            ("source", row["source"]),
            ("cell", f"{row['formula']}, {row['n_atoms']} atoms, {row['variant']} of domain {row['domain']}"),
            ("explored at", conditions),
        ]
    lines += [
        (row["stage"], _failure(row))
        for row in atlas.find("failures", structure_id=structure_id)
        if row["stage"] == "structures"
    ]
    return "source crystal", lines


def _of_crystal(atlas: Atlas, structure_id: str) -> list[tuple[str, str]]:
    """Return how many cells, trajectories, frames and picks a crystal has, and what of it failed."""
    cells = _counted(atlas, "structures", structure_id, "domain")
    lines = [("cells", f"{sum(cells.values()):,}: {_listed(cells)}")]
    if "snapshots" in atlas.tables:
        # one for each cell and condition
        runs = "variant || ':' || condition"
        started = _counted(atlas, "snapshots", structure_id, runs, "ensemble <> 'none'")
        frames = sum(_counted(atlas, "snapshots", structure_id, "domain").values())
        lines += [("trajectories", f"{len(started):,}"), ("frames", f"{frames:,}")]
    if "selection" in atlas.tables:
        picks = _counted(atlas, "selection", structure_id, "domain")
        lines.append(("picks", f"{sum(picks.values()):,}" + (f": {_listed(picks)}" if picks else "")))
    failed = _counted(
        atlas, "failures", structure_id, "stage || ' ' || reason", "stage NOT IN ('structures', 'dataset')"
    )
    if failed:
        lines.append(("failed", _listed(failed)))
    names = atlas.find("selection", structure_id=structure_id) if "selection" in atlas.tables else []
    if names:
        lines.append(("one of its picks", f"pesatlas explain {names[0]['snapshot_id']}"))
    return lines


def _labels(atlas: Atlas, structure_id: str, level: str) -> list[tuple[str, str]]:
    """Return the labels of a crystal at a level by verdict."""
    here = f"level = '{level}'"
    if "dataset" not in atlas.tables:
        return [("so far", f"{sum(_counted(atlas, 'labels', structure_id, 'level', here).values()):,}")]
    found = {
        verdict: count
        for table in ("dataset", "quarantine")
        for verdict, count in _counted(atlas, table, structure_id, "verdict", here).items()
    }
    return [(verdict, f"{count:,}") for verdict, count in found.items()] or [("none", "no label")]


def _counted(atlas: Atlas, table: str, structure_id: str, by: str, where: str = "true") -> dict[str, int]:
    """Return the numbers of rows of a crystal, by an expression; none of a table that is not there."""
    if table not in atlas.tables:
        return {}
    name = structure_id.replace("'", "''")
    rows = atlas.query(
        f"SELECT {by} AS what, count(*) AS rows FROM {table} WHERE structure_id = '{name}' AND {where} "  # noqa: S608 - a name that was found
        "GROUP BY ALL ORDER BY ALL"
    ).to_pylist()
    return {row["what"]: row["rows"] for row in rows}


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())


def _snapshot(row: dict[str, Any]) -> list[tuple[str, str]]:
    if row["condition"] == "equilibrium":
        how = "the crystal as given, without dynamics"
    elif row["ensemble"] == "none":
        how = f"{row['variant']} as made by domain {row['domain']}, without dynamics"
    else:
        how = (
            f"{row['ensemble']} dynamics at {row['temperature_K']:g} K and {row['pressure_GPa']:g} GPa, step "
            f"{row['step']} of {row['variant']}"
        )
    return [
        ("made by", how),
        ("potential", f"{row['potential']}, weights {row['potential_hash']}"),
        ("energy by the potential", f"{row['mlip_energy_eV']:.6f} eV"),
    ]


def _selection(atlas: Atlas, snapshot: dict[str, Any]) -> list[tuple[str, str]]:
    snapshot_id = snapshot["snapshot_id"]
    clusters = atlas.find("clusters", snapshot_id=snapshot_id)
    lines = [("cluster", f"{row['structure_cluster']} of structures") for row in clusters]
    picks = atlas.find("selection", snapshot_id=snapshot_id)
    if not picks:
        return [*lines, ("not picked, so not labelled", rejection_reason(atlas, snapshot, clusters))]
    row = picks[0]
    novelty = f", novelty {row['novelty']:.4g}"
    return [
        *lines,
        ("picked", f"as number {row['rank'] + 1} by policy {row['policy']}: {row['reason']}{novelty}"),
    ]


def _label(atlas: Atlas, snapshot_id: str, level: str) -> list[tuple[str, str]]:
    failures = [
        row for row in atlas.find("failures", key=snapshot_id, level=level) if row["stage"] == "label"
    ]
    if failures:
        return [("it is missing", _failure(row)) for row in failures]
    row, place = _dataset_row(atlas, snapshot_id, level)
    if row is None and atlas.unfinished:
        return _label_so_far(atlas, snapshot_id, level)
    if row is None:
        return [
            ("it is missing", "there is neither a label nor a failure: `pesatlas verify` lists the faults")
        ]
    corrections = json.loads(row["corrections"])
    rules = [
        f"{each['rule']}: {each['why']}" if isinstance(each, dict) else str(each)
        for each in json.loads(row["verdict_rules"])
    ]
    return [
        ("verdict", f"{row['verdict']}{': ' + '; '.join(rules) if rules else ''} (in {place})"),
        ("energy", f"{row['energy_eV']:.6f} eV, free energy {row['free_energy_eV']:.6f} eV"),
        ("largest force", _number(row["max_force_eV_per_A"], "eV/Å")),
        ("pressure", _number(row["static_pressure_GPa"], "GPa")),
        ("cohesive energy", _number(row["cohesive_energy_eV_per_atom"], "eV/atom")),
        ("symmetry", f"{row['space_group_symbol']} ({row['space_group']})"),
        ("split", row["split"]),
        (
            "calculation",
            (
                f"{row['code']}; {row['scf_steps']} SCF steps, {row['wall_s']:.0f} s, converged: "
                f"{row['converged']}"
            ),
        ),
        ("corrections", "; ".join(corrections) or "none"),
        ("level", f"fingerprint {row['level_fingerprint']}"),
        ("pseudopotentials", row["pseudopotentials"]),
        ("settings", row["settings"]),
        ("label_key", row["label_key"] + _archived(atlas, row["label_key"])),
    ]


def _archived(atlas: Atlas, label_key: str) -> str:
    """Return how to get the files of a calculation, if they are kept beside this folder of results."""
    configuration = atlas.manifest["configuration"]
    store = configuration.get("campaign", {}).get("store")
    kept = configuration.get("label", {}).get("keep_outputs", False)
    if not (kept and store and (atlas.root.parent / store / "outputs").is_dir()):
        return ""
    return f" (inputs and outputs: pesatlas outputs {label_key} --to FOLDER)"


def _label_so_far(atlas: Atlas, snapshot_id: str, level: str) -> list[tuple[str, str]]:
    """Tell of a label that no rule has seen yet, or that there is none yet."""
    for row in atlas.find("labels", snapshot_id=snapshot_id, level=level):
        return [
            ("verdict", "none yet: the dataset is collected when all labels are there"),
            ("energy", f"{row['energy_eV']:.6f} eV, free energy {row['free_energy_eV']:.6f} eV"),
            ("label_key", row["label_key"]),
        ]
    return [("not yet", "it waits for its calculation: `pesatlas status` shows the progress of the labels")]


def _dataset_row(atlas: Atlas, snapshot_id: str, level: str) -> tuple[dict[str, Any] | None, str]:
    for place in ("dataset", "quarantine"):
        for row in atlas.find(place, snapshot_id=snapshot_id, level=level):
            return row, place
    return None, ""


def label_rows(atlas: Atlas, snapshot_id: str) -> dict[str, dict[str, Any]]:
    """Return the labels of a snapshot by level, whatever their verdict.

    Raises
    ------
    UserError
        If it has none; the message says why.
    """
    found = {level: _dataset_row(atlas, snapshot_id, level)[0] for level in atlas.levels}
    rows = {level: row for level, row in found.items() if row is not None}
    if not rows and ":" not in snapshot_id:
        raise UserError(_unknown(atlas, snapshot_id, snapshot_id))
    if not rows:
        title, lines = explain(atlas, snapshot_id)[-1]
        why = "; ".join(f"{name}: {text}" for name, text in lines)
        raise UserError(f"{snapshot_id} has no label to reproduce ({title}: {why}).")
    return rows


def _number(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.4f} {unit}"


def _failure(row: dict[str, Any]) -> str:
    return f"{row['reason']}: {row['detail']} ({row['attempts']} attempt{'s' if row['attempts'] > 1 else ''})"


def _unknown(atlas: Atlas, snapshot_id: str, structure_id: str) -> str:
    import difflib  # noqa: PLC0415 - for a mistake only

    import pyarrow.compute as pc  # noqa: PLC0415

    table = atlas.table("snapshots" if "snapshots" in atlas.tables else "selection").to_table(
        columns=["snapshot_id"], filter=pc.field("structure_id") == structure_id
    )
    names = table.column(0).to_pylist()
    if names:
        near = (
            difflib.get_close_matches(snapshot_id, names[:5000], n=_SUSPECT, cutoff=0.3) or names[:_SUSPECT]
        )
        return (
            f"{atlas.root} has no snapshot {snapshot_id}. Of {structure_id} there are {len(names)}, e.g. "
            f"{', '.join(near)}."
        )
    known = sorted(set(atlas.table("structures").to_table(columns=["structure_id"]).column(0).to_pylist()))
    near = difflib.get_close_matches(structure_id, known, n=_SUSPECT, cutoff=0.3) or known[:_SUSPECT]
    return (
        f"{atlas.root} has no crystal '{structure_id}'. There are {len(known)}, e.g. {', '.join(near)}. A "
        "snapshot_id is structure:variant:condition:step."
    )
