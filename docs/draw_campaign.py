"""Draw the picture of the landing page from a finished campaign: ``python docs/draw_campaign.py RESULTS``.

Above, what each stage passed on; below left, the largest force in each frame, and the picks; below right, forces of the potential beside those of DFT.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import pesatlas

PICTURE = Path(__file__).parent / "images" / "campaign.svg"
WIDTH, HEIGHT = 780, 405
BLUE, ORANGE, GREY, INK = "#2a6f97", "#d9772b", "#b8bec4", "#222222"
FONT = f'font-family="sans-serif" font-size="12" fill="{INK}"'
LEVELS = {"pbe": ("PBE", BLUE), "r2scan": ("r2SCAN", ORANGE)}


def draw(results: Path) -> str:
    """Return the picture."""
    atlas = pesatlas.open(results)

    def count(table: str) -> str:
        return str(len(atlas.query("FROM " + table)))

    rows = atlas.query(
        "SELECT snapshot_id, structure_id, time_fs, mlip_max_force_eV_per_A AS force FROM snapshots ORDER BY ALL"
    ).to_pylist()
    picked = {row["snapshot_id"] for row in atlas.query("FROM selection").to_pylist()}
    crystals = sorted({row["structure_id"] for row in rows})
    longest = max(row["time_fs"] for row in rows)
    places = np.array(
        [(crystals.index(row["structure_id"]) + 0.8 * row["time_fs"] / longest, row["force"]) for row in rows]
    )
    is_pick = np.array([row["snapshot_id"] in picked for row in rows])
    stages = [
        ("structures", count("structures"), "cells of crystals"),
        ("explore", count("snapshots"), "frames of dynamics"),
        ("select", count("selection"), "picks"),
        ("label", count("labels"), "DFT labels, 2 levels"),
        ("dataset", count("dataset"), "rows, each traced"),
    ]
    left, right = Panel(60, 150, 300, 220), Panel(450, 150, 300, 220)
    forces = {level: pairs(results, level) for level in LEVELS}
    every = np.concatenate(list(forces.values()))
    span = f"{every[:, 0].min():.1f} to {every[:, 0].max():.1f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *pipeline(stages),
        *left.frame(
            "time, crystal by crystal",
            f"largest force (to {places[:, 1].max():.1f} eV/Å)",
            "frames, and those that were picked",
        ),
        *left.dots(places, places[~is_pick], GREY, 2.2),
        *left.dots(places, places[is_pick], BLUE, 4.5),
        *left.names(places, [crystal.removeprefix("demo-") for crystal in crystals]),
        *right.frame(f"by DFT ({span} eV/Å)", "by chgnet, same scale", "components of forces on the picks"),
    ]
    ends = np.array([[every.min()] * 2, [every.max()] * 2])
    (x1, y1), (x2, y2) = right.at(ends, ends)
    parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{GREY}"/>')
    for i, (level, (name, colour)) in enumerate(LEVELS.items()):
        parts += right.dots(ends, forces[level], colour, 2.6)
        y = right.top + 18 + 16 * i
        parts.append(f'<circle cx="{right.left + 14}" cy="{y - 4}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{right.left + 24}" y="{y}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def pairs(results: Path, level: str) -> np.ndarray:
    """Return components of forces, by DFT and by the potential that explored, (n, 2) eV/Å."""
    found = []
    for where, name in (
        (f"dataset/{level}/*.parquet", "forces_eV_per_A"),
        ("report/parity.parquet", "mlip_forces_eV_per_A"),
    ):
        tables = [pq.read_table(path, columns=["snapshot_id", name]) for path in results.glob(where)]
        found.append({row["snapshot_id"]: row[name] for table in tables for row in table.to_pylist()})
    dft, mlip = found
    return np.array([pair for key in sorted(dft) for pair in zip(dft[key], mlip[key], strict=True)])


def pipeline(stages: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return a box for each stage: its name, how many it passed on, and of what."""
    width, gap = 132, 24
    parts = []
    for i, (stage, number, what) in enumerate(stages):
        x = 12 + i * (width + gap)
        middle = x + width / 2
        parts += [
            f'<rect x="{x}" y="16" width="{width}" height="82" rx="6" fill="#eef4f8" stroke="{BLUE}"/>',
            f'<text x="{middle:g}" y="36" text-anchor="middle" font-weight="bold">{stage}</text>',
            f'<text x="{middle:g}" y="66" text-anchor="middle" font-size="22" fill="{BLUE}">{number}</text>',
            f'<text x="{middle:g}" y="87" text-anchor="middle" font-size="11">{what}</text>',
        ]
        if i:
            parts.append(f'<path d="M{x - gap + 4} 57h12l-5 -5m5 5l-5 5" fill="none" stroke="{BLUE}"/>')
    return parts


class Panel:
    """A plot: its place, and how numbers become places in it."""

    def __init__(self, left: int, top: int, width: int, height: int) -> None:
        self.left, self.top, self.width, self.height = left, top, width, height

    def frame(self, across: str, up: str, title: str) -> list[str]:
        """Return axes with their names."""
        x, y = self.left + self.width / 2, self.top + self.height
        return [
            f'<rect x="{self.left}" y="{self.top}" width="{self.width}" height="{self.height}" fill="none" stroke="#888"/>',
            f'<text x="{x:g}" y="{self.top - 10}" text-anchor="middle" font-weight="bold">{title}</text>',
            f'<text x="{x:g}" y="{y + 22}" text-anchor="middle">{across}</text>',
            f'<text transform="translate({self.left - 14} {y - self.height / 2:g}) rotate(-90)" text-anchor="middle">{up}</text>',
        ]

    def at(self, every: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return places (pixels) of points, in a frame that has room for ``every``."""
        low, high = every.min(0), every.max(0)
        share = 0.06 + 0.88 * (points - low) / (high - low)
        return np.stack([self.left + self.width * share[:, 0], self.top + self.height * (1 - share[:, 1])], 1)

    def names(self, every: np.ndarray, words: Sequence[str]) -> list[str]:
        """Return words below the axis, above 0.4, 1.4 and so on."""
        points = np.array([[i + 0.4, every[0, 1]] for i in range(len(words))])
        y = self.top + self.height - 6
        return [
            f'<text x="{x:.1f}" y="{y}" text-anchor="middle" font-size="11" fill="#555">{word}</text>'
            for word, (x, _) in zip(words, self.at(every, points), strict=True)
        ]

    def dots(self, every: np.ndarray, points: np.ndarray, colour: str, radius: float) -> list[str]:
        """Return a dot for each point."""
        inside = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>' for x, y in self.at(every, points)
        )
        return [f'<g fill="{colour}" fill-opacity="0.75">{inside}</g>']


if __name__ == "__main__":
    PICTURE.write_text(draw(Path(sys.argv[1])), encoding="utf-8")
