"""Tables under the figures: outliers, triggered rules, corrections, trajectories that ended early."""

from typing import Any

from pesatlas.campaign.layout import is_file_of
from pesatlas.report.figure import plain
from pesatlas.report.figure_rows import Reader, corrections, rules_triggered
from pesatlas.tables import read_table

_TABLE_ROWS = 20


def outliers(reader: Reader) -> list[dict[str, Any]]:
    """Return the table of the rows whose levels differ most; none of a single level."""
    rows = [
        (row["snapshot_id"], level, row["formula"], plain(row["level_gap_eV_per_atom"]), row["verdict"])
        for level in reader.levels
        for row in reader.labels[level]
        if row["level_gap_eV_per_atom"] is not None
    ]
    rows.sort(key=lambda row: -abs(row[3] or 0))
    if len(reader.levels) < 2:
        return []
    return [
        {
            "title": "Largest differences between the two levels",
            "heads": ["snapshot", "level", "formula", "difference minus the median (eV/atom)", "verdict"],
            "rows": [row for row in rows if row[1] == reader.levels[0]][:10],
            "empty": "No snapshot has both.",
        }
    ]


def trouble(reader: Reader) -> list[dict[str, Any]]:
    """Return the tables of triggered rules, corrections and trajectories that ended early."""
    violations = rules_triggered(reader.of_levels("dataset"), reader.of_levels("quarantine"))
    made = corrections(reader.of_levels("dataset"))
    exploded = [
        (row["key"], row["reason"], row["detail"])
        for entry in reader.entries
        if is_file_of(entry["file"], "explore_failures") and entry["rows"]
        for row in read_table(
            reader.results / entry["file"], "failures", ["key", "reason", "detail"]
        ).to_pylist()
    ]
    total = len(exploded)
    return [
        {
            "title": "Triggered rules",
            "heads": ["level", "rule", "labels"],
            "rows": [(*key, n) for key, n in sorted(violations.items())],
            "empty": "No rule was triggered.",
        },
        {
            "title": "Corrections of calculations",
            "heads": ["level", "correction", "labels"],
            "rows": [(*key, n) for key, n in made.most_common(_TABLE_ROWS)],
            "empty": "None was needed.",
        },
        {
            "title": "Trajectories that ended early"
            + (f" ({_TABLE_ROWS} of {total:,})" if total > _TABLE_ROWS else ""),
            "heads": ["trajectory", "reason", "what happened"],
            "rows": exploded[:_TABLE_ROWS],
            "empty": "None.",
        },
    ]
