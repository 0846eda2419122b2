"""Selection against maml, the reference code of DIRECT.

Time and memory at equal thresholds, and quality at equal DFT cost.

    python benchmarks/direct.py speed [--maml PYTHON] [--rows 10000 100000 300000]
    python benchmarks/direct.py large [--rows 1000000 10000000]
    python benchmarks/direct.py scan
    python benchmarks/direct.py quality FOLDER [--maml PYTHON]
    python benchmarks/direct.py clusters FOLDER [--structures 0.5 ...] [--atoms 0.1 ...]

``speed``: scaling, principal components, BIRCH, assignment and one pick a cluster, of vectors of 128 numbers.
``large``: 16 principal components, clustering and assignment. ``scan``: moments, reading and projecting of
features. ``quality``: on the features of a campaign, e.g. of `benchmarks/real_features.py`. ``clusters``: on
the same features, clusters and picks of the recipe by scikit-learn's Birch, which maml uses, and by ours, at
equal thresholds. All on one thread; CPU seconds; every measurement is a process of its own, so that its peak
memory is its own. PYTHON is the interpreter of an environment with `maml==2025.4.3`; without it maml is left
out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from growth import write_shard
from scipy.spatial import KDTree
from sklearn.cluster import Birch

from pesatlas.campaign.layout import RESULTS, below, folder_of, numbered
from pesatlas.config.select import Select
from pesatlas.select.candidates import find_candidates
from pesatlas.select.centres import Centres
from pesatlas.select.grid import Gathering
from pesatlas.select.pca import Pca, fit_pca
from pesatlas.select.pick import pick_snapshots
from pesatlas.select.select_frames import cluster_frames
from pesatlas.select.shards import read_projected
from pesatlas.tables import read_table

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")}
D, THRESHOLD, PCS = 128, 0.05, 16
MEASURE = """
import json, os, resource, sys, time
def mark():
    times.append(time.process_time())
times = []
"""
MAML = """
import numpy as np
from maml.sampling.pca import PrincipalComponentAnalysis
from maml.sampling.clustering import BirchClustering
from maml.sampling.stratified_sampling import SelectKFromClusters
from sklearn.preprocessing import StandardScaler
x = np.load(sys.argv[1]).astype(float)
threshold = float(sys.argv[2])
mark()
pcs = PrincipalComponentAnalysis().fit_transform(StandardScaler().fit_transform(x))
mark()
found = BirchClustering(n=None, threshold_init=threshold).fit_transform(pcs)
mark()
picks = SelectKFromClusters(k=1).fit_transform(found)
mark()
selected = np.asarray(picks["selected_indexes"]).tolist()
"""
OURS = """
import numpy as np
from pesatlas.select.centres import Centres
from pesatlas.select.grid import Gathering
from pesatlas.tables.components import Components
from pesatlas.tables.moments import Moments
threshold = float(sys.argv[2])
x = np.load(sys.argv[1], mmap_mode="r")
def warm(y):
    g = Gathering(0.1, 1, y.shape[1]); g.add_points(np.zeros(len(y), np.int32), y); g._keep_within(0)
    Centres.of_cells(g.cells(), 0.1).nearest(np.zeros(len(y), np.int32), y)
warm(np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32))
BLOCK = 1 << 14
blocks = [slice(a, a + BLOCK) for a in range(0, len(x), BLOCK)]
mark()
m = Moments.empty(x.shape[1])
for b in blocks: m.add(x[b])
c = Components.fit(m, "kaiser")
pcs = [c.project(x[b]) for b in blocks]
mark()
g = Gathering(threshold / 4, 1, len(c.axes))
for p in pcs: g.add_points(np.zeros(len(p), np.int32), p)
centres = Centres.of_cells(g.cells(), threshold)
found = [centres.nearest(np.zeros(len(p), np.int32), p) for p in pcs]
mark()
cluster, far = (np.concatenate(part) for part in zip(*found))
order = np.lexsort((far, cluster))
selected = order[np.concatenate([[True], np.diff(cluster[order]) > 0])].tolist()
mark()
"""
REPORT = """
print(json.dumps({"times": np.diff(times).tolist(), "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                  "selected": selected}))
"""


def run(python: str, code: str, *arguments: object) -> dict[str, Any]:
    """Run ``code`` in a process of its own, and return what it printed last."""
    done = subprocess.run(
        [python, "-W", "ignore", "-c", MEASURE + code + REPORT, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | ONE_THREAD,
    )
    if done.returncode != 0:
        sys.exit(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def vectors(rows: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Float16 vectors around as many centres as a tenth of ``rows``, in blocks."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(20, D)) / np.arange(1, 21)[:, None]
    centres = rng.normal(size=(rows // 10, 20))
    for start in range(0, rows, 100_000):
        which = np.arange(start, min(rows, start + 100_000)) // 10
        yield ((centres[which] + 0.02 * rng.normal(size=(len(which), 20))) @ mixing).astype(np.float16)


def speed(options: argparse.Namespace) -> None:
    """Print the table of times and memory at equal thresholds."""
    print("| rows | code | PCA | BIRCH + assignment | pick | total CPU s | peak MB | clusters | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for rows in options.rows or [10_000, 100_000, 300_000]:
            path = Path(folder) / "x.npy"
            np.save(path, np.concatenate(list(vectors(rows))))
            codes = {"pesatlas": (sys.executable, OURS)}
            if options.maml:
                codes["maml"] = (options.maml, MAML)
            found = {name: run(python, code, path, THRESHOLD) for name, (python, code) in codes.items()}
            for name, result in found.items():
                times = result["times"]
                ratio = sum(found["maml"]["times"]) / sum(times) if "maml" in found else float("nan")
                cells = [f"{t:.2f}" for t in times] + [f"{sum(times):.2f}", f"{result['MB']:.0f}"]
                print(
                    f"| {rows} | {name} | {' | '.join(cells)} | {len(result['selected'])} | {ratio:.1f} |",
                    flush=True,
                )


LARGE = """
import numpy as np
from pesatlas.select.centres import Centres
from pesatlas.select.grid import Gathering
rows, threshold, dimension = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
scale = 0.5 * 0.75 ** np.arange(dimension)
# as trajectories are: a thousand frames around each of many crystals
def blocks():
    rng = np.random.default_rng(0)
    for start in range(0, rows, 100_000):
        centres = rng.normal(size=(100, dimension)) * scale
        yield (np.repeat(centres, 1000, axis=0) + 0.05 * scale * rng.normal(size=(100_000, dimension))).astype(np.float32)
none = np.zeros(100_000, np.int32)
spent = {"grid": 0.0, "tree": 0.0, "assign": 0.0}
def timed(what, function):
    start = time.process_time(); answer = function(); spent[what] += time.process_time() - start
    return answer
g = Gathering(0.1, 1, 3); g.add_points(none[:9], np.random.rand(9, 3)); Centres.of_cells(g.cells(), 0.1)
g = Gathering(threshold / 4, 1, dimension)
for block in blocks(): timed("grid", lambda: g.add_points(none, block))
cells = timed("grid", g.cells)
held = len(cells.counts)
level = int(cells.levels.max())
del g
centres = timed("tree", lambda: Centres.of_cells(cells, threshold))
for block in blocks(): timed("assign", lambda: centres.nearest(none, block))
times = [0, *np.cumsum(list(spent.values()))]
selected = [held, len(centres.weights), level]
"""


def large(options: argparse.Namespace) -> None:
    """Print times and memory for millions of rows, and what follows for MatPES."""
    print(
        "| rows | grid | tree | assignment | clustering CPU s per 1e6 rows | with assignment | cells | "
        "clusters | MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for rows in options.rows or [1_000_000, 10_000_000]:
        result = run(sys.executable, LARGE, rows, THRESHOLD * 2, PCS)
        grid, tree, assign = result["times"]
        held, clusters, _ = result["selected"]
        print(
            f"| {rows} | {grid:.1f} | {tree:.1f} | {assign:.1f} | {(grid + tree) / rows * 1e6:.2f} "
            f"| {(grid + tree + assign) / rows * 1e6:.2f} | {held} | {clusters} | {result['MB']:.0f} |",
            flush=True,
        )
    for what, count in (("281 million structures", 281e6), ("16 billion atoms", 16e9)):
        hours = ((grid + assign) / rows * count + tree) / 3600
        print(
            f"\n{what}: {count:.3g} x ({grid / rows * 1e6:.2f} + {assign / rows * 1e6:.2f}) CPU s per 1e6 + "
            f"{tree:.0f} s for one tree"
            f" = {hours:.1f} CPU h, of which {hours - tree / 3600:.1f} h are shared by as many jobs as "
            "there are groups."
        )


SCAN = """
from pathlib import Path
import numpy as np
import pyarrow.parquet as pq
from pesatlas.select.pca import Pca
from pesatlas.select.select_frames import cluster_frames
from pesatlas.select.shards import read_projected
from pesatlas.tables.moments import Moments
pca, paths = Pca.read(Path(sys.argv[1])), [Path(p) for p in sys.argv[2:]]
columns = [pq.read_table(p, columns=["atom_features"]).column(0).combine_chunks() for p in paths]
vectors = [c.flatten().to_numpy(zero_copy_only=False).reshape(-1, len(pca.atoms.mean)) for c in columns]
list(read_projected(paths[0], pca))
mark()
m = Moments.empty(len(pca.atoms.mean))
for v in vectors: m.add(v)
mark()
for v in vectors: pca.atoms.project(v)
mark()
for p in paths:
    for part in read_projected(p, pca): pass
mark()
selected = [m.n, sum(p.stat().st_size for p in paths), m.dimension, len(pca.atoms.axes)]
"""
PASSES = 3
"""Jobs that read the features of all atoms.

Grids, assignment, and the drawing of frames to measure the choice with.
"""


def scan(_: argparse.Namespace) -> None:
    """Print what moments, reading and projecting of features take for a million atoms, and for MatPES."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shards = [write_shard(folder, str(i), list(range(50 * i, 50 * i + 50)), 100) for i in range(6)]
        fit_pca(Select(), [shard.moments for shard in shards], folder / "pca.npz")
        found = run(sys.executable, SCAN, folder / "pca.npz", *[shard.features for shard in shards])
    atoms, size, dimension, components = found["selected"]
    moments, project, read = (1e6 * t / atoms for t in found["times"])
    print(
        f"{atoms} atoms with {dimension} numbers each, {components} principal components, "
        f"{size / atoms:.0f} bytes an atom.\n"
        f"CPU s per million atoms: moments {moments:.2f}, reading and projecting {read:.2f}, of which "
        f"projecting {project:.2f}.\n"
        f"16 billion atoms: 1.6e4 x ({moments:.2f} + {PASSES} x {read:.2f}) s = "
        f"{4.44 * (moments + PASSES * read):.0f} CPU h"
    )


class RealPool:
    """Features of a campaign, and what a choice of frames covers of them."""

    def __init__(self, folder: Path, work: Path) -> None:

        results = folder / RESULTS
        self.work = work
        self.features = numbered(results, "features")
        self.snapshots = [results / folder_of("snapshots") / path.name for path in self.features]
        self.pca = below(results, "pca")
        pca = Pca.read(self.pca)
        frames = [part for path in self.features for part in read_projected(path, pca)]
        self.ids = [name for part in frames for name in part.ids]
        self.place = {name: i for i, name in enumerate(self.ids)}
        self.structures = np.concatenate([part.structures for part in frames])
        self.sizes = np.concatenate([np.diff(part.edges) for part in frames])
        self.edges = np.concatenate([[0], np.cumsum(self.sizes)])
        self.atoms = np.concatenate([part.atoms for part in frames])

    def vectors(self) -> np.ndarray:
        """Return the features of structures as they were encoded."""
        columns = [pq.read_table(path, columns=["structure_features"]) for path in self.features]
        return np.concatenate([np.stack(c["structure_features"].to_numpy()) for c in columns])

    def select(self, name: str, **options: Any) -> list[int]:
        """Run the stage, and return the rows of its picks in their order."""
        settings = Select(include_equilibrium=False, target=10**6, **options)
        folder = self.work / name
        (clusters,) = cluster_frames(settings, {"00000": self.features}, self.pca, folder).values()
        atoms, candidates = below(folder, "atom_centres"), below(folder, "candidates", group="00000")
        geometries, selection = below(folder, "geometries", group="00000"), below(folder, "selection")
        find_candidates(settings, 1, self.snapshots, clusters, atoms, candidates, geometries)
        pick_snapshots(
            settings,
            1,
            self.snapshots,
            [candidates],
            [geometries],
            atoms=atoms,
            reference=None,
            selection=selection,
            structures_per_job=400,
        )
        table = read_table(selection, "selection", ["snapshot_id"])
        return [self.place[name] for name in table["snapshot_id"].to_pylist()]

    def cost(self, rows: list[int]) -> np.ndarray:
        """Return the running sum of n³."""
        return np.cumsum(self.sizes[rows].astype(float) ** 3)

    def fill(self, rows: list[int]) -> list[float]:
        """Return mean, p99 and largest distance to the nearest pick, of atoms and of structures."""
        picked = np.concatenate([np.arange(self.edges[r], self.edges[r + 1]) for r in rows])
        answer: list[float] = []
        for points, chosen in ((self.atoms, picked), (self.structures, np.array(rows))):
            far = KDTree(points[chosen]).query(points)[0]
            answer += [float(far.mean()), float(np.percentile(far, 99)), float(far.max())]
        return answer


def quality(options: argparse.Namespace) -> None:
    """Print fill distances of every policy at equal cost and equal count, at several thresholds."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        pool = RealPool(options.folder, work)
        print(
            f"{len(pool.ids)} frames, {len(pool.atoms)} atoms; {pool.structures.shape[1]} and "
            f"{pool.atoms.shape[1]} "
            "principal components. Distances to the nearest pick in weighted components."
        )
        order = {
            name: pool.select(
                name, policy={"kind": name}, structure={"threshold": 0.05}, atoms={"threshold": t}
            )
            for name, t in (("cover", options.finest), ("random", 0.05))
        }
        order["farthest"] = farthest(pool, 4000)
        direct = maml_direct(pool, options.maml, work) if options.maml else []
        for by in ("cost", "count"):
            print(f"\nEqual {by}:\n")
            print(
                "| recipe's threshold | policy | picks | Σn³ | atoms: mean | p99 | max | structures: mean | "
                "p99 | max |"
            )
            print("|---|---|---|---|---|---|---|---|---|---|")
            for threshold in options.thresholds:
                recipe = pool.select(
                    "matpes", structure={"threshold": options.structures}, atoms={"threshold": threshold}
                )
                rows = {"matpes": recipe}
                budget = pool.cost(recipe)[-1]
                for name, ranked in order.items():
                    most = (
                        int(np.searchsorted(pool.cost(ranked), budget, "right"))
                        if by == "cost"
                        else len(recipe)
                    )
                    rows[name] = ranked[: max(1, most)]
                if direct:
                    found = [
                        pool.cost(r)[-1] / budget if by == "cost" else len(r) / len(recipe) for r in direct
                    ]
                    nearest = int(np.abs(np.log(found)).argmin())
                    rows["maml DIRECT (nearest)"] = direct[nearest]
                for name, chosen in rows.items():
                    cells = " | ".join(f"{x:.4f}" for x in pool.fill(chosen))
                    print(
                        f"| {threshold} | {name} | {len(chosen)} | {pool.cost(chosen)[-1]:.0f} | {cells} |",
                        flush=True,
                    )


def clusters(options: argparse.Namespace) -> None:
    """Print the numbers of clusters and picks by scikit-learn's Birch and by ours."""
    with tempfile.TemporaryDirectory() as temporary:
        pool = RealPool(options.folder, Path(temporary))
        print(f"{len(pool.ids)} frames, {len(pool.atoms)} atoms\n")
        print(
            "| thresholds | Birch | clusters of structures | of atoms | picks | Σn³ "
            "|\n|---|---|---|---|---|---|"
        )
        owner = np.repeat(np.arange(len(pool.ids)), pool.sizes)
        for first, second in zip(options.structures, options.atoms, strict=True):
            for name, birch in (("scikit-learn", by_sklearn), ("pesatlas", by_tree)):
                structures = birch(pool.structures, np.zeros(len(pool.ids), np.int32), first)
                atoms = birch(pool.atoms, structures[owner], second)
                picks = recipe(pool.sizes, owner, atoms)
                counts = " | ".join(str(len(np.unique(found))) for found in (structures, atoms))
                print(
                    f"| {first:g}, {second:g} | {name} | {counts} | {len(picks)} | "
                    f"{pool.cost(picks)[-1]:.0f} |",
                    flush=True,
                )


def by_sklearn(points: np.ndarray, owners: np.ndarray, threshold: float) -> np.ndarray:
    """Cluster as maml does, within each owner.

    Birch without a global step, rows as they come, then the nearest centre.
    """
    found = np.zeros(len(points), np.int32)
    start = 0
    for owner in np.unique(owners):
        rows = np.flatnonzero(owners == owner)
        labels = Birch(n_clusters=None, threshold=threshold).fit(points[rows]).predict(points[rows])
        found[rows] = start + np.unique(labels, return_inverse=True)[1]
        start = found[rows].max() + 1
    return found


def by_tree(points: np.ndarray, owners: np.ndarray, threshold: float) -> np.ndarray:
    """Cluster as this project does, within each owner."""
    points = points.astype(np.float32)
    gathering = Gathering(threshold / 4, int(owners.max()) + 1, points.shape[1])
    gathering.add_points(owners.astype(np.int32), points)
    centres = Centres.of_cells(gathering.cells(), threshold)
    labels: np.ndarray = np.unique(centres.nearest(owners.astype(np.int32), points)[0], return_inverse=True)[
        1
    ]
    return labels


def recipe(sizes: np.ndarray, owner: np.ndarray, atoms: np.ndarray) -> list[int]:
    """Pick a frame with the fewest atoms for each atomic cluster.

    Of such frames one that is there already, else the first.
    """
    picked: dict[int, None] = {}
    order = np.argsort(atoms, kind="stable")
    for members in np.split(owner[order], np.flatnonzero(np.diff(atoms[order])) + 1):
        frames = np.unique(members)
        smallest = frames[sizes[frames] == sizes[frames].min()]
        picked.setdefault(int(next((f for f in smallest if f in picked), smallest[0])))
    return list(picked)


def farthest(pool: RealPool, most: int) -> list[int]:
    """Exact farthest-point sampling of all structures, from the one farthest from the mean."""
    apart = np.linalg.norm(pool.structures, axis=1)
    rows = []
    for _ in range(min(most, len(apart))):
        rows.append(int(apart.argmax()))
        apart = np.minimum(apart, np.linalg.norm(pool.structures - pool.structures[rows[-1]], axis=1))
    return rows


def maml_direct(pool: RealPool, python: str, work: Path) -> list[list[int]]:
    """DIRECT as maml has it, one pick for each cluster of structures, at several thresholds."""
    np.save(work / "x.npy", pool.vectors().astype(np.float32))
    return [run(python, MAML, work / "x.npy", t)["selected"] for t in 0.5 / 1.35 ** np.arange(20)]


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for function in (speed, large):
        command = commands.add_parser(function.__name__)
        command.add_argument("--rows", type=int, nargs="+")
        command.add_argument("--maml")
        command.set_defaults(run=function)
    commands.add_parser("scan").set_defaults(run=scan)
    command = commands.add_parser("quality")
    command.add_argument("folder", type=Path)
    command.add_argument("--maml")
    command.add_argument(
        "--structures", type=float, default=0.05, help="threshold of the recipe's first stage"
    )
    command.add_argument("--thresholds", type=float, nargs="+", default=[0.1, 0.05, 0.02, 0.01])
    command.add_argument("--finest", type=float, default=0.002, help="finest net of cover")
    command.set_defaults(run=quality)
    command = commands.add_parser("clusters")
    command.add_argument("folder", type=Path)
    command.add_argument(
        "--structures", type=float, nargs="+", default=[0.5, 0.2, 0.05], help="thresholds of stage 1"
    )
    command.add_argument(
        "--atoms", type=float, nargs="+", default=[0.1, 0.05, 0.02], help="of stage 2, one for each"
    )
    command.set_defaults(run=clusters)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
