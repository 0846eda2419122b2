"""Tables of learning curves, ratios of costs with intervals, and the figure."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

AT = (100, 200, 400)
"""Numbers of labels at which policies are compared."""
SHOWN = {
    "energy_meV_per_atom": "energies, mean (meV/atom)",
    "energy_p95": "energies, 95 % (meV/atom)",
    "force_mean": "forces, mean (meV/Å)",
    "force_rmse": "forces, root mean square (meV/Å)",
    "force_p95": "forces, 95 % (meV/Å)",
    "force_p99": "forces, 99 % (meV/Å)",
    "stress_GPa": "stress, mean (GPa)",
}
PAIR, PAIR_OF_ENERGIES = ("force_mean", "force_p95"), ("energy_meV_per_atom", "energy_p95")
RESAMPLES = 400


class Ratio(NamedTuple):
    """Share of a reference's cost, or of its labels, that a policy needs for the same error.

    Attributes
    ----------
    mean, low, high : geometric mean and interval of 95 %
    bound : "<" or ">" where some ratio is only known to be below or above
    """

    mean: float
    low: float
    high: float
    bound: str

    def __str__(self) -> str:
        return f"{self.bound}{self.mean:.2f} ({self.low:.2f} to {self.high:.2f})"

    @property
    def verdict(self) -> str:
        """Better, worse, equal or undecided, as the protocol says; a bound decides only what it can."""
        if self.high < 1 and self.bound in {"", "<"}:
            return "better"
        if self.low > 1 and self.bound in {"", ">"}:
            return "worse"
        if self.bound:
            return "undecided"
        return "equal" if self.low >= 0.8 and self.high <= 1.25 else "undecided"


class Curves:
    """All points of one phase and test.

    Attributes
    ----------
    labels : numbers of labels, growing
    axes, errors : of (policy, seed), cost or labels and errors at ``labels``, NaN where there is no point
    """

    def __init__(self, rows: Iterable[dict[str, str]], error: str, axis: str) -> None:
        rows = list(rows)
        self.labels = sorted({int(row["labels"]) for row in rows})
        size = len(self.labels)
        self.axes: dict[tuple[str, int], NDArray[np.float64]] = defaultdict(lambda: np.full(size, np.nan))
        self.errors: dict[tuple[str, int], NDArray[np.float64]] = defaultdict(lambda: np.full(size, np.nan))
        for row in rows:
            if not row[error]:
                continue
            key, place = (row["policy"], int(row["seed"])), self.labels.index(int(row["labels"]))
            self.axes[key][place] = float(row[axis])
            self.errors[key][place] = float(row[error])

    @property
    def policies(self) -> list[str]:
        """All policies."""
        return list(dict.fromkeys(policy for policy, _ in self.errors))

    def seeds(self, *policies: str) -> list[int]:
        """Seeds that all of some policies have."""
        every = [{seed for policy, seed in self.errors if policy == name} for name in policies]
        return sorted(set.intersection(*every))

    def logs(self, policy: str, reference: str, seed: int, at: Sequence[int]) -> list[tuple[float, int]]:
        """Return logarithms of ratios at some N, and -1 or 1 for those that are upper or lower bounds."""
        x, y = self.axes[policy, seed], self.errors[policy, seed]
        there = np.isfinite(y)
        x, y = np.log(np.maximum.accumulate(x[there])), np.log(np.minimum.accumulate(y[there]))
        found = []
        for labels in at:
            if labels not in self.labels:
                continue
            place = self.labels.index(labels)
            goal, spent = self.errors[reference, seed][place], self.axes[reference, seed][place]
            if not np.isfinite(goal) or not len(y):
                continue
            goal, spent = np.log(goal), np.log(spent)
            if goal >= y[0]:
                found.append((x[0] - spent, -1 if goal > y[0] else 0))
            elif goal < y[-1]:
                found.append((x[-1] - spent, 1))
            else:
                after = int(np.flatnonzero(y <= goal)[0])
                share = (y[after - 1] - goal) / (y[after - 1] - y[after])
                found.append((x[after - 1] + share * (x[after] - x[after - 1]) - spent, 0))
        return found


def ratio(
    curves: Curves,
    policy: str,
    reference: str,
    resampled: "Sequence[Curves] | None" = None,
    at: Sequence[int] = AT,
) -> Ratio | None:
    """Return the ratio of a policy to a reference; None if they have no seed in common.

    Parameters
    ----------
    resampled : the same with resampled test frames, of which one is taken for each resample of the seeds
    """
    seeds = curves.seeds(policy, reference)
    found = {seed: curves.logs(policy, reference, seed, at) for seed in seeds}
    if not any(found.values()):
        return None
    bounds = {bound for part in found.values() for _, bound in part} - {0}
    mean = float(np.mean([value for part in found.values() for value, _ in part]))
    rng, means = np.random.default_rng(0), []
    for k in range(RESAMPLES):
        of = resampled[k % len(resampled)] if resampled else None
        drawn = rng.choice(seeds, len(seeds)).tolist()
        parts = [of.logs(policy, reference, seed, at) if of else found[seed] for seed in drawn]
        if values := [value for part in parts for value, _ in part]:
            means.append(np.mean(values))
    low, high = np.exp(np.percentile(means, [2.5, 97.5]))
    bound = {frozenset(): "", frozenset({-1}): "<", frozenset({1}): ">"}.get(frozenset(bounds), "~")
    return Ratio(float(np.exp(mean)), float(low), float(high), bound)


def resample(rows: Sequence[dict[str, str]], folder: Path, axis: str, count: int = 40) -> list[Curves]:
    """Return curves of mean forces on resampled test frames, the same frames for all points."""
    each = {}
    for row in rows:
        policy = row["policy"].replace("/", "-")
        name = f"{row['phase']}_{policy}_{row['seed']}_{row['labels']}_{row['test']}.npy"
        if not (folder / name).is_file():
            return []
        each[name] = np.load(folder / name).astype(float)
    some = next(iter(each.values()))
    rng, made = np.random.default_rng(0), []
    for _ in range(count):
        drawn = rng.integers(len(some), size=len(some))
        means = [np.average(part[drawn, 1], weights=part[drawn, 0]) for part in each.values()]
        made.append(
            Curves(
                [{**row, "mean": str(value)} for row, value in zip(rows, means, strict=True)], "mean", axis
            )
        )
    return made


def read_points(work: Path, phase: str) -> list[dict[str, str]]:
    """Read the points of a phase."""
    with (work / "points.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["phase"] == phase]


def table_of_errors(rows: Sequence[dict[str, str]], error: str) -> str:
    """Return the mean over seeds of cost (1e6 atoms³) and error for each policy and number of labels."""
    curves = Curves(rows, error, "cost")
    lines = [
        "| policy | " + " | ".join(map(str, curves.labels)) + " |",
        "|---" * (len(curves.labels) + 1) + "|",
    ]
    for policy in curves.policies:
        cells = []
        for place in range(len(curves.labels)):
            seeds = [s for s in curves.seeds(policy) if np.isfinite(curves.errors[policy, s][place])]
            if not seeds:
                cells.append("-")
                continue
            cost = np.mean([curves.axes[policy, s][place] for s in seeds]) / 1e6
            values = [curves.errors[policy, s][place] for s in seeds]
            cells.append(f"{cost:.2g}: {np.mean(values):.4g} ± {np.std(values):.2g}")
        lines.append(f"| `{policy}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(rows: Sequence[dict[str, str]], folder: Path, ns: Sequence[int] = AT) -> str:
    """Return the mean error and the cost at some N, and ratios of cost to ``matpes`` and ``random``."""
    errors = PAIR if any(row["force_mean"] for row in rows) else PAIR_OF_ENERGIES
    every = {error: Curves(rows, error, "cost") for error in errors}
    first, resampled = every[errors[0]], resample(rows, folder, "cost")
    at = [labels for labels in first.labels if labels in ns]
    heads = [*(f"N = {labels}" for labels in at)]
    heads += [f"to `{reference}`, {what}" for reference in ("matpes", "random") for what in ("mean", "95 %")]
    lines = ["| policy | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for policy in first.policies:
        cells = []
        for place in (first.labels.index(labels) for labels in at):
            seeds = [s for s in first.seeds(policy) if np.isfinite(first.errors[policy, s][place])]
            cost, value = (
                np.mean([part[policy, s][place] for s in seeds]) if seeds else np.nan
                for part in (first.axes, first.errors)
            )
            cells.append(f"{value:.3g} ({cost / 1e6:.2g})")
        for reference in ("matpes", "random"):
            for error in errors:
                known = reference != policy and reference in first.policies
                by = resampled if error == errors[0] else None
                cells.append(str(ratio(every[error], policy, reference, by, ns) or "-") if known else "1")
        lines.append(f"| `{policy}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table_of_ratios(
    rows: Sequence[dict[str, str]], folder: Path, reference: str, errors: Sequence[str], axis: str = "cost"
) -> str:
    """Return the ratio of each policy to a reference, for some errors, with the verdicts."""
    lines = [
        "| policy | " + " | ".join(SHOWN[error] for error in errors) + " |",
        "|---" * (len(errors) + 1) + "|",
    ]
    by_frame = "force_mean" if "force_mean" in errors else "energy_meV_per_atom"
    resampled = resample(rows, folder, axis)
    for policy in Curves(rows, errors[0], axis).policies:
        if policy == reference:
            continue
        cells = []
        for error in errors:
            found = ratio(
                Curves(rows, error, axis), policy, reference, resampled if error == by_frame else None
            )
            cells.append("-" if found is None else f"{found}, {found.verdict}")
        lines.append(f"| `{policy}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table_by_labels(rows: Sequence[dict[str, str]], reference: str, error: str) -> str:
    """Return the ratio of cost of each policy to a reference with each number of labels by itself."""
    curves = Curves(rows, error, "cost")
    at = [labels for labels in curves.labels if labels in {50, *AT}]
    lines = ["| policy | " + " | ".join(map(str, at)) + " |", "|---" * (len(at) + 1) + "|"]
    for policy in curves.policies:
        if policy != reference:
            found = [ratio(curves, policy, reference, at=[labels]) for labels in at]
            lines.append(f"| `{policy}` | " + " | ".join(str(each or "-") for each in found) + " |")
    return "\n".join(lines)


def table_of_worst(works: Sequence[Path], phase: str, reference: str) -> str:
    """Return ratios of cost to a reference for mean and 95th percentile in all pools, the best policy first.

    Of forces, or of energies where there are no forces; the last column is the worst of all.
    """
    found: dict[str, list[float]] = defaultdict(list)
    heads = []
    for work in works:
        rows = [row for row in read_points(work, phase) if row["test"] in {"kind", "tune-test"}]
        for error in PAIR if any(row["force_mean"] for row in rows) else PAIR_OF_ENERGIES:
            curves = Curves(rows, error, "cost")
            heads.append(f"{work.name}: {SHOWN[error]}")
            for policy in curves.policies:
                value = ratio(curves, policy, reference)
                found[policy].append(np.nan if value is None else value.mean)
    whole = {policy: values for policy, values in found.items() if len(values) == len(heads)}
    lines = ["| policy | " + " | ".join([*heads, "worst"]) + " |", "|---" * (len(heads) + 2) + "|"]
    lines += [
        f"| `{policy}` | " + " | ".join(f"{value:.2f}" for value in [*values, max(values)]) + " |"
        for policy, values in sorted(whole.items(), key=lambda item: max(item[1]))
    ]
    return "\n".join(lines)


def draw(rows: Sequence[dict[str, str]], path: Path, policies: Sequence[str]) -> None:
    """Draw mean and 95th percentile of forces against labels and cost, one line for each policy."""
    import altair as alt  # noqa: PLC0415 - for those who want the figure

    from pesatlas.report.figure import COLOURS  # noqa: PLC0415

    points: list[dict[str, Any]] = []
    for error in PAIR if any(row["force_mean"] for row in rows) else PAIR_OF_ENERGIES:
        for axis, called in (("labels", "labels"), ("cost", "cost, Σn³")):
            curves = Curves(rows, error, axis)
            for policy in policies:
                seeds = curves.seeds(policy) if policy in curves.policies else []
                for place in range(len(curves.labels)):
                    mine = [s for s in seeds if np.isfinite(curves.errors[policy, s][place])]
                    if mine:
                        points.append(
                            {
                                "x": float(np.mean([curves.axes[policy, s][place] for s in mine])),
                                "y": float(np.mean([curves.errors[policy, s][place] for s in mine])),
                                "policy": policy,
                                "panel": f"{SHOWN[error]} over {called}",
                            }
                        )
    base = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X("x:Q", title=None, scale=alt.Scale(type="log", nice=False)),
        y=alt.Y("y:Q", title=None, scale=alt.Scale(type="log", nice=False, zero=False)),
        color=alt.Color("policy:N", title=None, scale=alt.Scale(range=COLOURS), sort=list(policies)),
    )
    panel = alt.layer(base.mark_line(), base.mark_point(filled=True, size=40)).properties(
        width=250, height=190
    )
    chart = panel.facet(facet=alt.Facet("panel:N", title=None), columns=2)
    chart.resolve_scale(x="independent", y="independent").save(str(path))


def report(work: Path, phase: str, beside: Sequence[Path] = (), at: Sequence[int] = AT) -> None:
    """Print the tables, also of pools ``beside`` this one, and draw the figure of the first test."""
    rows = read_points(work, phase)
    if not rows:
        return
    tests = sorted({row["test"] for row in rows}, key=lambda name: (name != "kind", name))
    for test in tests:
        mine = [row for row in rows if row["test"] == test]
        print(f"\n## {test}: {mine[0]['frames']} frames, learner: {mine[0]['learner']}")
        shown = [error for error in SHOWN if any(row[error] for row in mine)]
        for error in shown:
            if error in {"energy_meV_per_atom", "force_mean", "force_p95"}:
                print(f"\n{SHOWN[error]} after the cost in 1e6 atoms³, mean and deviation of the seeds\n")
                print(table_of_errors(mine, error))
        print(f"\nin brief\n\n{summary(mine, work / 'each', at)}")
        for reference in ("matpes", "random"):
            if reference in {row["policy"] for row in mine}:
                for axis in ("cost", "atoms2", "atoms", "labels"):
                    print(f"\nratio of {axis} to {reference} for its errors\n")
                    print(table_of_ratios(mine, work / "each", reference, shown, axis))
                for error in PAIR if "force_mean" in shown else PAIR_OF_ENERGIES:
                    print(f"\nratio of cost to {reference} with so many labels: {SHOWN[error]}\n")
                    print(table_by_labels(mine, reference, error))
    first = [row for row in rows if row["test"] == tests[0]]
    names = list(dict.fromkeys(row["policy"] for row in first))
    draw(first, work / f"{phase}.svg", [name for name in names if not name.startswith("facility-0.25")][:10])
    if phase in {"experiment", "tuning"}:
        print(f"\nworst ratios of cost to random\n\n{table_of_worst([work, *beside], phase, 'random')}")
