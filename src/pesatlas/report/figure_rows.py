"""Rows behind the figures: read from a campaign's tables, sampled where there are too many to draw."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pesatlas.atoms.elements import symbol_of
from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.campaign.campaign_tables import CampaignTables
from pesatlas.campaign.caveats import GAIN_FROM_PICKS
from pesatlas.campaign.layout import is_file_of
from pesatlas.report.figure import Columns, Data, columns_of
from pesatlas.report.sample import read_rows, sample_ids
from pesatlas.report.softness import LABELS, forces_of_crystals, softness
from pesatlas.tables import SCHEMAS, iter_table, read_table

Files = Mapping[str, Sequence[Path]]
"""Files of a campaign by their names in the layout."""

LABELS_SHOWN = 5000
POINTS_SHOWN = 6000
POOL_SHOWN = 4000
PICKS_SHOWN = 2000
_ROWS_OF_GROUP = 4
"""Rows that are taken of a row group of a long table: neighbours are frames of one trajectory, and alike."""

_LABEL_COLUMNS = [
    "snapshot_id",
    "domain",
    "n_atoms",
    "numbers",
    "cell_A",
    "cohesive_energy_eV_per_atom",
    "max_force_eV_per_A",
    "net_force_eV_per_A",
    "static_pressure_GPa",
    "level_gap_eV_per_atom",
    "scf_steps",
    "wall_s",
    "verdict",
    "formula",
]


def elements_of(numbers: Iterable[int]) -> str:
    """Return the elements as the page looks for them: ``|Cl|Na|``."""
    return f"|{'|'.join(sorted({symbol_of(int(z)) for z in numbers}))}|"


def volume_A3(row: Mapping[str, Any]) -> float:  # noqa: N802 - names carry units
    """Return the volume of the cell of a row."""
    return abs(float(np.linalg.det(np.reshape(row["cell_A"], (3, 3)))))


class Reader:
    """Reads tables of a finished campaign; what several figures need is read once.

    Parameters
    ----------
    files : tables by their names in the layout, with the manifest
    manifest : what is in that
    """

    def __init__(self, files: Files, manifest: Mapping[str, Any]) -> None:
        self.files = files
        self.results = files["manifest"][0].parent
        self.levels: list[str] = manifest["levels"]
        self.seed: int = manifest["configuration"].get("campaign", {}).get("seed", 0)
        self.round: int = (manifest["configuration"].get("round") or {"number": 1})["number"]
        self.rules: dict[str, Any] = manifest["configuration"]["dataset"]["rules"]
        self.entries: list[dict[str, Any]] = manifest["files"]
        self.tables = CampaignTables(self.results, manifest)
        datasets = self.of_levels("dataset")
        ids, self.rows = sample_ids(datasets[self.levels[0]], "dataset", self.seed, LABELS_SHOWN)
        # the same snapshots at every level, so that they can be compared
        self.labels = {
            level: read_rows(path, "dataset", ids, [*_LABEL_COLUMNS, "abs_forces_eV_per_A"]).to_pylist()
            for level, path in datasets.items()
        }

    def path(self, name: str) -> Path:
        """Return the one file of a name."""
        (path,) = self.files[name]
        return path

    def of_levels(self, name: str) -> dict[str, Path]:
        """Return the file of each level."""
        return dict(zip(self.levels, self.files[name], strict=True))

    def label_rows(self) -> Data:
        """Return rows of the dataset at all levels."""
        kept = [name for name in _LABEL_COLUMNS if name not in {"numbers", "cell_A"}]
        rows = [
            row
            | {
                "level": level,
                "elements": elements_of(row["numbers"]),
                "volume_A3_per_atom": volume_A3(row) / row["n_atoms"],
            }
            for level in self.levels
            for row in self.labels[level]
        ]
        columns = columns_of(("level", "elements", "volume_A3_per_atom", *kept), rows)
        total = sum(entry["rows"] for entry in self.entries if is_file_of(entry["file"], "dataset"))
        return Data(columns, total, "labels")

    def atoms(self) -> Data:
        """Return forces on atoms of the sampled labels."""
        rows: list[dict[str, Any]] = []
        total = 0
        for level in self.levels:
            found = [(row, i) for row in self.labels[level] for i in range(row["n_atoms"])]
            total += len(found)
            rows += [
                {
                    "level": level,
                    "domain": row["domain"],
                    "elements": elements_of(row["numbers"]),
                    "symbol": symbol_of(row["numbers"][i]),
                    "force_eV_per_A": row["abs_forces_eV_per_A"][i],
                }
                for row, i in (found[k] for k in _some(len(found), POINTS_SHOWN, self.seed))
            ]
        columns = columns_of(("level", "domain", "elements", "symbol", "force_eV_per_A"), rows)
        return Data(columns, total, "atoms")

    def pairs(self) -> Data:
        """Return snapshots with a cohesive energy at the first two levels."""
        names = ("snapshot_id", "domain", "elements", "formula", "first", "second", "gap", "outlier")
        rows: list[dict[str, Any]] = []
        if len(self.levels) > 1:
            second = {row["snapshot_id"]: row for row in self.labels[self.levels[1]]}
            limit = self.rules.get("level_gap", {}).get("limit", np.inf)
            for row in self.labels[self.levels[0]]:
                other = second.get(row["snapshot_id"])
                energies = [r and r["cohesive_energy_eV_per_atom"] for r in (row, other)]
                if None in energies:
                    continue
                gap = row["level_gap_eV_per_atom"]
                far = gap is not None and abs(gap) > limit
                rows.append(
                    row
                    | dict(zip(("first", "second"), energies, strict=True))
                    | {
                        "elements": elements_of(row["numbers"]),
                        "gap": gap,
                        "outlier": "outlier" if far else "as the others",
                    }
                )
        columns = columns_of(names, rows)
        return Data(columns, self.rows, "snapshots with both levels")

    def parity(self) -> dict[str, Data]:
        """Return predictions and labels of the first level for the same snapshots.

        Energies, forces, stresses; and how soft it is.
        """
        paths = self.files.get("parity")
        parity = read_table(paths[0], "parity") if paths else SCHEMAS["parity"].empty_table()
        ids = parity["snapshot_id"].to_pylist()
        labels = read_rows(self.of_levels("dataset")[self.levels[0]], "dataset", ids, list(LABELS))
        known = {row["snapshot_id"]: row for row in labels.to_pylist()}
        rows = [
            (row, known[row["snapshot_id"]])
            for row in parity.to_pylist()
            if row["mlip_energy_eV"] is not None and row["snapshot_id"] in known
        ]
        found = softness(parity, labels)
        # mean absolute error of the force components of each row
        self.force_errors = {
            a["snapshot_id"]: float(
                np.abs(np.subtract(b["forces_eV_per_A"], a["mlip_forces_eV_per_A"])).mean()
            )
            for a, b in rows
        }
        self.potential = next(iter(parity["potential"].unique().to_pylist()), "")
        self.softness, self.forces = found, forces_of_crystals(parity, labels)
        return {
            "parity_energy": self._compared(_energies(rows), "snapshots"),
            "parity_forces": self._compared(
                _components(rows, "forces_eV_per_A", 1.0), "components of forces"
            ),
            "parity_stress": self._compared(
                _components(rows, "stress_eV_per_A3", EV_PER_A3_TO_GPA), "components of stresses"
            ),
            "errors": _errors(found),
        }

    def _compared(self, rows: list[tuple[Any, ...]], what: str) -> Data:
        names = ("snapshot_id", "domain", "elements", "label", "potential")
        shown = [rows[i] for i in _some(len(rows), POINTS_SHOWN, self.seed)]
        columns = [list(values) for values in zip(*shown, strict=True)] or [[] for _ in names]
        return Data(dict(zip(names, columns, strict=True)), len(rows), what)

    def offsets(self, pairs: Data) -> Data:
        """Return the difference of the levels by element."""
        found: dict[str, list[float]] = defaultdict(list)
        columns = pairs.columns
        for elements, first, second in zip(
            columns["elements"], columns["first"], columns["second"], strict=True
        ):
            for symbol in elements.strip("|").split("|"):
                found[symbol].append(second - first)
        symbols = sorted(found)
        values = [np.array(found[symbol]) for symbol in symbols]
        return Data(
            {
                "symbol": symbols,
                "elements": [f"|{symbol}|" for symbol in symbols],
                "domain": [""] * len(symbols),
                "mean": [each.mean() for each in values],
                "low": [np.percentile(each, 10) for each in values],
                "high": [np.percentile(each, 90) for each in values],
                "rows": [len(each) for each in values],
            },
            len(symbols),
            "elements",
        )

    def quality(self) -> tuple[Data, Data]:
        """Return fill distances by number of picks, beside random ones; and the gain of a thousand more."""
        rows = read_table(self.path("quality"), "quality").to_pylist()
        distances = [
            {"of": row["of"], "part": part, "measure": measure, "picks": row["picks"], "distance": value}
            for row in rows
            for part in ("structures", "atoms")
            for measure in ("mean", "p99", "max")
            # zero is everything covered, which a logarithmic axis has no place for
            if (value := row[f"fill_{measure}_{part}"])
        ]
        fill = columns_of(("of", "part", "measure", "picks", "distance"), distances)
        paced = [
            row
            for row in rows
            if row["of"] == "picks"
            and row["gain_per_1000_labels"] is not None
            and row["picks"] >= GAIN_FROM_PICKS
        ]
        gain: Columns = {
            "picks": [row["picks"] for row in paced],
            "gain": [100 * row["gain_per_1000_labels"] for row in paced],
        }
        return Data(fill, len(fill["of"]), "values"), Data(gain, len(paced), "steps")

    def losses(self, found: Counter[tuple[str, str, str]]) -> tuple[Data, Data]:
        """Return what failed, as ``found`` by stage, level and reason; and by the elements of its crystal."""
        known: dict[str, list[int]] = {}
        for piece in iter_table(self.path("structures"), ["structure_id", "numbers"]):
            known.update(zip(*(piece.column(i).to_pylist() for i in range(2)), strict=True))
        of_element: Counter[tuple[str, str]] = Counter()
        for entry in self.entries:
            if entry["table"] == "failures" and entry["rows"]:
                rows = read_table(self.results / entry["file"], "failures", ["structure_id", "reason"])
                for row in rows.to_pylist():
                    for z in set(known.get(row["structure_id"], [])):
                        of_element[symbol_of(z), row["reason"]] += 1
        losses: Columns = {
            name: [key[i] for key in found] for i, name in enumerate(("stage", "level", "reason"))
        }
        losses["rows"] = list(found.values())
        elements: Columns = {
            "symbol": [symbol for symbol, _ in of_element],
            "elements": [f"|{symbol}|" for symbol, _ in of_element],
            "domain": [""] * len(of_element),
            "reason": [reason for _, reason in of_element],
            "rows": list(of_element.values()),
        }
        return Data(losses, len(found), "reasons"), Data(elements, len(of_element), "pairs")

    def pool(self) -> tuple[pa.Table, int]:
        """Return frames of the pool with their geometry, and how many there are.

        All of them, or some of row groups all over the shards.
        """
        return _spread(self.files["snapshots"], POOL_SHOWN, self.seed)

    def components(self, ids: Iterable[str]) -> dict[str, list[float]]:
        """Return weighted principal components of the structures of some frames, by ``snapshot_id``."""
        wanted = pa.array(sorted(ids), pa.string())
        found: dict[str, list[float]] = {}
        for path in self.files["clusters"]:
            # ids are sorted within a batch: row groups that hold none of these are not read
            filters = pc.field("snapshot_id").isin(wanted)
            here = read_table(path, "clusters", ["snapshot_id", "structure_pcs"], filters)
            found.update(zip(here["snapshot_id"].to_pylist(), here["structure_pcs"].to_pylist(), strict=True))
        return found


def count_elements(tables: Iterable[pa.ChunkedArray]) -> tuple[Counter[int], int]:
    """Count in how many rows each element is, and the rows; of columns ``numbers``."""
    found: Counter[int] = Counter()
    rows = 0
    for column in tables:
        rows += len(column)
        for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
            owner = pc.list_parent_indices(chunk).to_numpy().astype(np.int64)
            values = pc.list_flatten(chunk).to_numpy().astype(np.int64)
            once = np.unique(owner * 256 + values) % 256
            found.update(dict(enumerate(np.bincount(once, minlength=120).tolist())))
    return +found, rows


def _spread(paths: Sequence[Path], most: int, seed: int) -> tuple[pa.Table, int]:
    """Return at most ``most`` rows of some files, and how many they hold: a few rows of many row groups."""
    files = [pq.ParquetFile(path) for path in paths]
    sizes = [
        (i, group, file.metadata.row_group(group).num_rows)
        for i, file in enumerate(files)
        for group in range(file.num_row_groups)
    ]
    total = sum(rows for _, _, rows in sizes)
    rng = np.random.default_rng(seed)
    chosen = sizes
    if total > most:
        share = max(most // _ROWS_OF_GROUP, 1)
        picked = sorted(rng.choice(len(sizes), min(share, len(sizes)), replace=False).tolist())
        chosen = [sizes[k] for k in picked]
    each = most if total <= most else max(most // max(len(chosen), 1), 1)
    parts = []
    for i, group, rows in chosen:
        table = files[i].read_row_group(group)
        parts.append(table if rows <= each else table.take(np.sort(rng.choice(rows, each, replace=False))))
    for file in files:
        file.close()
    # shards of an older schema version have fewer columns
    return pa.concat_tables(
        (part.replace_schema_metadata(None) for part in parts), promote_options="default"
    ), total


def _some(n: int, most: int, seed: int) -> list[int]:
    """Return at most ``most`` of n indices, the same ones every time."""
    if n <= most:
        return list(range(n))
    chosen: list[int] = np.sort(np.random.default_rng(seed).choice(n, most, replace=False)).tolist()
    return chosen


def _energies(rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[tuple[Any, ...]]:
    """Return energies of both, meV/atom, less the mean of their crystal."""
    crystals: dict[Any, list[int]] = defaultdict(list)
    values = np.array([(b["energy_eV"], a["mlip_energy_eV"]) for a, b in rows]).reshape(-1, 2)
    values = 1000 * values / np.array([[a["n_atoms"]] for a, _ in rows]).reshape(-1, 1)
    for i, (a, _) in enumerate(rows):
        crystals[a["structure_id"], elements_of(a["numbers"])].append(i)
    found = []
    for members in crystals.values():
        if len(members) > 1:
            for i, pair in zip(members, values[members] - values[members].mean(axis=0), strict=True):
                a = rows[i][0]
                found.append((a["snapshot_id"], a["domain"], elements_of(a["numbers"]), *pair.tolist()))
    return found


def _components(
    rows: list[tuple[dict[str, Any], dict[str, Any]]], name: str, factor: float
) -> list[tuple[Any, ...]]:
    return [
        (a["snapshot_id"], a["domain"], elements_of(a["numbers"]), factor * label, factor * potential)
        for a, b in rows
        for label, potential in zip(b[name], a[f"mlip_{name}"], strict=True)
    ]


def _errors(found: list[dict[str, Any]]) -> Data:
    rows = [row for row in found if row["of"] == "domain"]
    names = ("rows", "force_mae_eV_per_A", "stress_mae_GPa", "energy_mae_meV_per_atom")
    columns: Columns = {"domain": [row["name"] for row in rows]}
    return Data(columns | {name: [row[name] for row in rows] for name in names}, len(rows), "domains")


def rules_triggered(*tables: Mapping[str, Path]) -> Counter[tuple[str, str]]:
    """Count triggered rules in tables of each level, by level and rule."""
    found: Counter[tuple[str, str]] = Counter()
    for table in tables:
        for level, path in table.items():
            if path.is_file():
                for piece in iter_table(path, ["verdict_rules"]):
                    for text, times in Counter(piece.column(0).to_pylist()).items():
                        for rule in json.loads(text):
                            found[level, rule if isinstance(rule, str) else rule.get("rule", str(rule))] += (
                                times
                            )
    return found


def corrections(datasets: Mapping[str, Path]) -> Counter[tuple[str, str]]:
    """Count the corrections that were made to rows of the dataset, by level and correction."""
    found: Counter[tuple[str, str]] = Counter()
    for level, path in datasets.items():
        for piece in iter_table(path, ["corrections"]):
            for text, times in Counter(piece.column(0).to_pylist()).items():
                for correction in json.loads(text):
                    found[level, str(correction)] += times
    return found
