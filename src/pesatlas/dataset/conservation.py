"""Row counts that must add up where tables meet; a sum that does not add up stops the campaign."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pesatlas.campaign.layout import Results
from pesatlas.errors import UserError
from pesatlas.tables import read_entry


@dataclass(frozen=True)
class Sum:
    """One conservation law: rows in, and rows out by outcome."""

    name: str
    total: int
    parts: dict[str, int]

    @property
    def closes(self) -> bool:
        """Whether the parts make up the total."""
        return self.total == sum(self.parts.values())

    def __str__(self) -> str:
        parts = " + ".join(f"{count} {name}" for name, count in self.parts.items())
        return f"{self.name}: {self.total} {'=' if self.closes else '!='} {parts}"


def sums(results: Results) -> list[Sum]:
    """Every conservation law of a campaign, with counts taken from the manifests of its tables.

    The expected count always comes from upstream: what a stage should have is what the stage before it wrote.
    """
    structures = read_entry(results.path("structures")).counts
    explored = _total(results.of_batches("snapshots"))
    snapshots = _rows(results.of_batches("snapshots"))
    selection = read_entry(results.path("selection"))
    found = [
        Sum("structures read", structures["sources_read"], _pick(structures, "accepted", "failed")),
        Sum(
            "structure failures on file",
            # before domains could refuse there was no such count
            structures["failed"] + structures.get("cells_refused", 0),
            {"rows": _rows([results.path("structure_failures")])},
        ),
        Sum("cells", structures["cells"], {"explored": explored["structures"]}),
        Sum(
            "trajectories",
            structures["trajectories"],
            {"finished": explored["trajectories_finished"], "failed": explored["trajectories_failed"]},
        ),
        Sum(
            "explore failures on file",
            explored["trajectories_failed"] + explored["equilibrium_failed"],
            {"rows": _rows(results.of_batches("explore_failures"))},
        ),
        Sum(
            "snapshots",
            snapshots,
            {"frames of dynamics": explored["frames"], "equilibrium": explored["equilibrium"]},
        ),
        Sum("snapshots to encode", snapshots, {"features": _rows(results.of_batches("features"))}),
        Sum("pool", snapshots, {name: selection.counts[name] for name in selection.counts if name != "pool"}),
        Sum("selected", selection.counts["selected"], {"rows": selection.rows}),
    ]
    labels = _total(results.of_label_batches("labels"))
    for level in results.levels:
        parts = {"labelled": labels[f"labelled_{level}"], "failed": labels[f"failed_{level}"]}
        found.append(Sum(f"selected, at {level}", selection.rows, parts))
    failed = sum(labels[f"failed_{level}"] for level in results.levels)
    found.append(
        Sum("label failures on file", failed, {"rows": _rows(results.of_label_batches("label_failures"))})
    )
    label_rows = sum(labels[f"labelled_{level}"] for level in results.levels)
    found.append(Sum("labels", label_rows, {"rows": _rows(results.of_label_batches("labels"))}))
    quarantine = results.of_levels("quarantine")
    accepted = {level: _rows([results.path("dataset", level=level)]) for level in results.levels}
    found.append(Sum("labels in dataset", label_rows, {**accepted, "quarantined": _rows(quarantine)}))
    found.append(
        Sum("quarantine on file", _rows(quarantine), {"failures": _rows([results.path("dataset_failures")])})
    )
    return found


def check_sums(results: Results) -> list[Sum]:
    """Return the sums if they all close.

    Raises
    ------
    UserError
        If one does not; the message names it, with its numbers.
    """
    found = sums(results)
    broken = [str(each) for each in found if not each.closes]
    if broken:
        raise UserError("rows were lost or appeared without an origin:\n  " + "\n  ".join(broken))
    return found


def _pick(counts: dict[str, int], *names: str) -> dict[str, int]:
    return {name: counts[name] for name in names}


def _rows(paths: Iterable[Path]) -> int:
    return sum(read_entry(path).rows for path in paths)


def _total(paths: Iterable[Path]) -> dict[str, int]:
    total: dict[str, int] = {}
    for path in paths:
        for name, count in read_entry(path).counts.items():
            total[name] = total.get(name, 0) + count
    return total
