"""Selection policies by learning curves on labelled frames: how many labels, at what cost, for which error.

    python benchmarks/learning_curves.py FOLDER --work WORK [--test condition='Ta_AIMD' ...] [--most-atoms 24]
    python benchmarks/learning_curves.py FOLDER --work WORK --tune
    python benchmarks/learning_curves.py FOLDER --work WORK --report
    python benchmarks/learning_curves.py FOLDER --work WORK --quick

FOLDER has extended XYZ with DFT energies and forces (stress too, if there is any); ``--files`` names some of
it. Every seed sees a random nine tenths of the pool. Each point is one row of ``WORK/points.csv`` for each
test, written as soon as it is there: run it again to go on. Then it prints tables and draws a figure,
``WORK/experiment.svg``. ``--tune`` tries settings of facility location on frames that the experiment never
sees. ``--quick`` does one seed and two policies. ``--rate`` fine-tunes chgnet, or with ``--weights`` a
potential of matgl, instead of the linear potential; give each a WORK of its own. It needs scikit-learn,
SciPy, ASE, and featomic==0.6.7.
"""

import argparse
import csv
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")

import numpy as np
from curves_policies import NESTED, PRODUCT, Candidates, Order, Shard, candidates_of, direct, facilities
from curves_pool import POOL, TUNE, TUNE_TEST, Frames, open_frames
from curves_report import AT, report
from curves_soap import Equations, Fits, energy_equations, errors_of, forces_of, write_equations
from numpy.typing import NDArray

MOST_ELEMENTS = 6
"""With more, the fast learner learns energies alone: DFT minus chgnet."""
COUNTS = [25, 50, 100, 200, 400, 800]
GRID = [
    (a, p, w, d)
    for w, p in (("direct", 1), ("direct", 2), ("flat", 1), ("flat", 2), ("white", 1))
    for d in ("frames", "atoms")
    for a in (0.0, 0.25, 0.5)
] + [(a, 1, "species", "frames") for a in (0.0, 0.25, 0.5)]
"""Settings of facility location to tune: exponent of the cost, power of the distance, weights, demand."""
TUNED = [(0.25, 1, "species", "frames"), (0.5, 1, "species", "frames"), (0.0, 1, "direct", "frames")]
"""Settings of facility location in the experiment: the winner of the tuning, and two others."""
MIXED = [("matpes", "facility 0"), ("cover", "facility 0"), ("cover", "random"), ("matpes", "random")]
"""Policies that share the picks."""
FORCES = "forces alone"
"""Phase of the points that are fitted to forces alone."""
COLUMNS = [
    "phase",
    "learner",
    "policy",
    "seed",
    "labels",
    "cost",
    "atoms",
    "atoms2",
    "penalty",
    "seconds",
    "test",
    "frames",
]
ERRORS = [
    "energy_meV_per_atom",
    "energy_p95",
    "force_mean",
    "force_rmse",
    "force_p95",
    "force_p99",
    "stress_GPa",
]


def measures(found: Sequence[dict[str, Any]], frames: Frames, test: str) -> dict[str, Any]:
    """Return errors on a test: of energies in meV/atom, of force components in meV/Å, of stresses in GPa.

    ``found`` are the errors of its frames, as ``errors_of`` yields them.
    """
    rows = frames.where(test)
    forces = 1000 * np.concatenate([each["forces"] for each in found])
    to_gpa = [160.2177 * int(frames.n_atoms[row]) / frames.atoms[row].get_volume() for row in rows]
    stresses = [
        each["virial"].mean() * factor
        for each, factor in zip(found, to_gpa, strict=True)
        if len(each["virial"])
    ]
    energies = 1000 * np.array([each["energy"] for each in found])
    values = {
        "energy_meV_per_atom": energies.mean(),
        "energy_p95": np.percentile(energies, 95),
    }
    if len(forces):
        values |= {
            "force_mean": forces.mean(),
            "force_rmse": (forces**2).mean() ** 0.5,
            "force_p95": np.percentile(forces, 95),
            "force_p99": np.percentile(forces, 99),
        }
    if stresses:
        values["stress_GPa"] = np.nanmean(stresses)
    return {
        "test": test,
        "frames": len(rows),
        **{name: float(f"{value:.5g}") for name, value in values.items()},
        "each": np.array(
            [
                (len(each["forces"]), 1000 * each["forces"].mean())
                if len(forces)
                else (1, 1000 * each["energy"])
                for each in found
            ],
            np.float32,
        ),
    }


class Points:
    """Points that are done: rows of ``points.csv``, one for each test; errors of each frame beside it."""

    def __init__(self, work: Path) -> None:
        self.path = work / "points.csv"
        self.folder = work / "each"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.done: set[tuple[str, str, int, int]] = set()
        if self.path.is_file():
            with self.path.open(encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    self.done.add((row["phase"], row["policy"], int(row["seed"]), int(row["labels"])))

    def add(self, head: Mapping[str, Any], tests: Sequence[dict[str, Any]]) -> None:
        """Write one point."""
        new = not self.path.is_file()
        key = head["phase"], head["policy"], head["seed"], head["labels"]
        for row in tests:
            np.save(
                self.folder / f"{'_'.join(map(str, key)).replace('/', '-')}_{row['test']}.npy",
                row.pop("each"),
            )
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*COLUMNS, *ERRORS], lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows([{**head, **row} for row in tests])
        self.done.add(key)


class Experiment:
    """One pool, its equations, and the points on it."""

    def __init__(self, options: argparse.Namespace) -> None:
        files = sorted(path for pattern in options.files for path in options.folder.glob(pattern))
        if not files:
            raise SystemExit(f"{options.folder} has no file {' or '.join(options.files)}")
        tests = [tuple(text.split("=", 1)) for text in options.test]
        self.frames = open_frames(
            files, options.work, key=options.key, most_atoms=options.most_atoms, tests=tests
        )
        self.points, self.work = Points(options.work), options.work
        self._shard: Shard | None = None
        if options.rate:
            return
        unlabelled = np.flatnonzero(np.isin(self.frames.roles, [POOL, TUNE]))
        numbers = [each.numbers for each in self.frames.atoms]
        many = len({int(number) for each in numbers for number in each}) > MOST_ELEMENTS
        self.learner = "energies on chgnet" if many else "SOAP"
        if many:
            wrong = self.frames.energies - self.frames.predicted[0]
            self.equations = energy_equations(numbers, self.frames.vectors, wrong, unlabelled)
        else:
            self.equations = write_equations(self.frames.atoms, unlabelled, options.work)

    @property
    def shard(self) -> Shard:
        """The frames as tables of pesatlas."""
        if self._shard is None:
            self._shard = Shard(self.frames, self.work / "shard")
        return self._shard

    def run(
        self, phase: str, orders: Mapping[str, Order], seeds: Sequence[int], counts: Sequence[int]
    ) -> None:
        """Add the points that are missing, seed by seed."""
        role, tests = (TUNE, [TUNE_TEST]) if phase == "tuning" else (POOL, self.frames.tests)
        every = self.frames.where(role)
        for seed in seeds:
            pool = self._pool(every, seed)
            for policy in orders:
                wanted = [count for count in counts if count <= 0.75 * len(pool.rows)]
                missing = [n for n in wanted if (phase, policy, seed, n) not in self.points.done]
                if missing:
                    self._one(phase, policy, orders[policy], pool, missing, tests)

    def _one(
        self, phase: str, policy: str, order: Order, pool: Candidates, counts: list[int], tests: list[str]
    ) -> None:
        taught = forces_of(self.equations) if phase == FORCES else self.equations
        done = self._fits(taught, policy, order, pool, counts)
        for count, (fits, picks, seconds) in zip(counts, done, strict=True):
            start = time.process_time()
            weights, penalty = fits.solve()
            rows = []
            for test in tests:
                of = self.frames.where(test).tolist()
                found = list(errors_of(self.equations, weights, of, self.frames.n_atoms))
                rows.append(measures(found, self.frames, test))
            whole = seconds + time.process_time() - start
            self._add(phase, self.learner, policy, picks, (pool.seed, count, penalty, whole), rows)

    def fine_tune(
        self,
        orders: Mapping[str, Order],
        seeds: Sequence[int],
        counts: Sequence[int],
        rate: float,
        role: str,
        learner: Any,
    ) -> None:
        """Add points of a potential fine-tuned on picks; in the tuning, one for each rate."""
        from curves_tuning import FineTuning  # noqa: PLC0415 - torch

        phase = "fine-tuning" if role == POOL else f"fine-tuning-{rate:g}"
        tests, every = ["kind"] if role == POOL else [TUNE_TEST], self.frames.where(role)
        tuning = FineTuning(self.frames.atoms, learner)
        for seed in seeds:
            pool = self._pool(every, seed)
            for count in counts:
                for policy, order in orders.items():
                    if (phase, policy, seed, count) in self.points.done:
                        continue
                    picks, start = self.picks(policy, order, pool, count)[:count], time.process_time()
                    model = tuning.train(picks.tolist(), seed, rate)
                    rows = []
                    for test in tests:
                        found = list(tuning.errors(model, self.frames.where(test).tolist()))
                        rows.append(measures(found, self.frames, test))
                    seconds = time.process_time() - start
                    self._add(phase, learner.name, policy, picks, (seed, count, rate, seconds), rows)

    def _pool(self, every: NDArray[np.int64], seed: int) -> Candidates:
        rng = np.random.default_rng(seed)
        return candidates_of(
            self.frames, np.sort(rng.choice(every, round(0.9 * len(every)), replace=False)), seed
        )

    def picks(self, policy: str, order: Order, pool: Candidates, count: int) -> NDArray[np.int64]:
        """Return picks of a policy, from what was kept of them if it is there."""
        role = self.frames.roles[pool.rows[0]]
        kept = self.work / "picks" / f"{role}_{policy.replace('/', '-')}_{pool.seed}_{count}.npy"
        if not kept.is_file():
            kept.parent.mkdir(exist_ok=True)
            np.save(kept, order(pool, count))
        found: NDArray[np.int64] = np.load(kept)
        return found

    def _add(
        self,
        phase: str,
        learner: str,
        policy: str,
        picks: Any,
        how: tuple[int, int, float, float],
        rows: list[Any],
    ) -> None:
        head = {
            "phase": phase,
            "learner": learner,
            "policy": policy,
            "seed": how[0],
            # DIRECT picks a few less, where no frame is nearest to a centre
            "labels": how[1],
            "cost": int(self.frames.cost[picks].sum()),
            "atoms": int(self.frames.n_atoms[picks].sum()),
            "atoms2": int((self.frames.n_atoms[picks] ** 2).sum()),
            "penalty": how[2],
            "seconds": round(how[3], 2),
        }
        self.points.add(head, rows)
        shown = ", ".join(
            f"{row['test']} {row.get('force_mean', row['energy_meV_per_atom']):.4g}" for row in rows
        )
        print(f"{policy} {how[0]} {how[1]}: {head['cost'] / 1e6:.3g}e6 atoms³, {shown}", flush=True)

    def _fits(
        self, equations: Equations, policy: str, order: Order, pool: Candidates, counts: list[int]
    ) -> Iterator[tuple[Fits, NDArray[np.int64], float]]:
        nested = policy in NESTED or policy.startswith("facility-")
        start, fits, before = time.process_time(), Fits(equations), 0
        whole = self.picks(policy, order, pool, max(counts)) if nested else None
        for count in counts:
            picks = self.picks(policy, order, pool, count) if whole is None else whole[:count]
            if whole is None:
                fits, before = Fits(equations), 0
            fits.add(picks[before:].tolist(), before)
            before = len(picks)
            yield fits, picks, time.process_time() - start
            start = time.process_time()


def orders_of(experiment: Experiment, names: Sequence[str]) -> dict[str, Order]:
    """Return the policies of the experiment, or those of them that are named."""

    def product(settings: dict[str, Any]) -> Order:
        return lambda pool, most: experiment.shard.select(pool.rows, pool.seed, settings, most)

    every = NESTED | {"direct": direct} | facilities(TUNED)
    every |= {name: product(settings) for name, settings in PRODUCT.items()}

    def mixed(first: str, second: str) -> Order:
        """Half of the picks by each of two policies; what both pick, the second replaces by its next."""

        def order(pool: Candidates, most: int) -> NDArray[np.int64]:
            whole = experiment.picks(second, every[second], pool, most)
            half = experiment.picks(first, every[first], pool, most // 2)[: most // 2]
            others = whole[~np.isin(whole, half)]
            return np.concatenate([half, others[: most - len(half)]])

        return order

    every |= {f"{first} + {second}": mixed(first, second) for first, second in MIXED}
    if unknown := set(names) - set(every):
        raise SystemExit(f"no policy {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    return {name: order for name, order in every.items() if not names or name in names}


def main() -> None:
    """Do what is missing, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--files", nargs="+", default=["*.extxyz", "*.extxyz.gz", "*.xyz"])
    parser.add_argument("--key", default="group", help="key of the comment that names the group of a frame")
    parser.add_argument("--most-atoms", type=int, default=None, help="larger frames are left out")
    parser.add_argument("--test", nargs="*", default=[], help="NAME=PATTERN: groups that only test")
    parser.add_argument("--policies", nargs="*", default=[])
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--rate", type=float, default=None, help="fine-tune chgnet at this learning rate")
    parser.add_argument("--weights", type=Path, default=None, help="with --rate: a folder of matgl's instead")
    parser.add_argument(
        "--older-convention", action="store_true", help="the weights are from before matgl 2.2"
    )
    parser.add_argument("--forces-alone", action="store_true", help="fit to forces alone")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--report", action="store_true", help="only that, of what is there")
    parser.add_argument(
        "--at", type=int, nargs="+", default=AT, help="numbers of labels that ratios in brief are means over"
    )
    parser.add_argument(
        "--beside", type=Path, nargs="*", default=[], help="--work of other pools to report too"
    )
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    options.folder = options.folder.expanduser()
    if not options.report:
        experiment = Experiment(options)
        if options.rate:
            role = TUNE if options.tune else POOL
            orders = orders_of(experiment, options.policies)
            from curves_tuning import Chgnet, Matgl  # noqa: PLC0415 - torch

            folder = options.weights
            learner = Matgl(folder, older_convention=options.older_convention) if folder else Chgnet()
            experiment.fine_tune(orders, options.seeds, options.counts, options.rate, role, learner)
            return
        if options.tune:
            named = NESTED | facilities(GRID)
            if options.policies:
                every = named | orders_of(experiment, [])
                named = {name: every[name] for name in options.policies}
            experiment.run("tuning", named, options.seeds, options.counts)
        elif options.quick:
            experiment.run("experiment", orders_of(experiment, ["random", "matpes"]), [1], options.counts[:2])
        else:
            orders = orders_of(experiment, options.policies)
            phase = FORCES if options.forces_alone else "experiment"
            experiment.run(phase, orders, options.seeds, options.counts)
    for phase in ("tuning",) if options.tune else ("experiment", FORCES, "fine-tuning"):
        report(options.work, phase, options.beside, options.at)


if __name__ == "__main__":
    main()
