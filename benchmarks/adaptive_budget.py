"""Steps·atoms given where new environments open, against as many for all, on recorded trajectories.

    python benchmarks/adaptive_recording.py FIRST
    python benchmarks/adaptive_recording.py SECOND --seed 2 --length 10
    python benchmarks/adaptive_budget.py FIRST SECOND

Every crystal has a first pass, of half the length that all could have. The rest of the budget is given in one
or three decisions: crystals are ranked by the distance of the second half of what they have shown from all
that the campaign had seen before, and in this order they get as much again as they have (three times as much
where there is one decision, so that it is a choice), until the share of the decision is spent. Against it:
the same steps·atoms as one length for all, or as two trajectories of half that length.

Distances are from frames that no pool has, the second ten of the 20 ps of the first recording, and from their
atoms, to the nearest of the pool, in weighted principal components of the first recording. The decisions are
made in these too, which is more than a campaign would know. ``foresight`` ranks by the distances that are
measured: what could be had if one knew. Numbers are means over pools that begin with either seed; in brackets
their ratio to those of one length, and 2.5 and 97.5 % of it over draws of the crystals with replacement.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from adaptive import Recording, read_recording
from numpy.typing import NDArray
from scipy.spatial import KDTree

from pesatlas.tables.components import Components
from pesatlas.tables.moments import ShardMoments

FRAME_PS, LONGEST = 0.05, 200
"""Time between frames (ps), and frames that a pool may take from a trajectory; the others are the probe."""
THRESHOLDS = 0.15, 0.05
"""Distances of a structure and of an atom beyond which they are new: the defaults of ``explore.stop``."""

_TIMES = {1: 3, 3: 1}
"""Multiple of what a crystal has that it gets at once, by the number of decisions."""

Lengths = dict[tuple[int, str], int]
"""Frames of a trajectory, by its seed and its crystal."""
Score = Callable[[Lengths], dict[str, float]]


@dataclass(frozen=True)
class Rule:
    """One way to spend.

    Attributes
    ----------
    score : by which crystals are ranked: ``news``, the same for the work that it would cost, or ``foresight``
    decisions : how many
    how : a crystal gets its share as a ``longer`` trajectory; as one that is computed ``anew`` from its
        start, so that its first pass is paid twice; or as a trajectory of the ``other seed``
    """

    score: str
    decisions: int
    how: str


RULES = (
    Rule("news for the work", 1, "longer"),
    Rule("news for the work", 1, "anew"),
    Rule("news for the work", 1, "other seed"),
    Rule("news for the work", 3, "longer"),
    Rule("news for the work", 3, "other seed"),
    Rule("news", 1, "longer"),
    Rule("foresight", 1, "longer"),
    Rule("foresight", 3, "longer"),
)


@dataclass(frozen=True)
class Crystal:
    """One crystal.

    Attributes
    ----------
    cost : steps·atoms of a frame
    structures, atoms : for each seed, weighted components of all frames, (F, k) and (F, n, k)
    """

    cost: float
    structures: list[NDArray[np.float32]]
    atoms: list[NDArray[np.float32]]


def crystals_of(recordings: list[Recording], components: tuple[Components, Components]) -> dict[str, Crystal]:
    """Return the crystals that all recordings have."""
    found: dict[str, list[Crystal]] = {}
    for recording in recordings:
        for each in recording.trajectories:
            count, n, width = each.atoms.shape
            points = components[1].project(each.atoms.reshape(-1, width)).reshape(count, n, -1)
            found.setdefault(each.name, []).append(
                Crystal(each.n_atoms * each.steps / count, [components[0].project(each.structures)], [points])
            )
    return {
        name: Crystal(seeds[0].cost, [one.structures[0] for one in seeds], [one.atoms[0] for one in seeds])
        for name, seeds in found.items()
        if len(seeds) == len(recordings)
    }


class Campaign:
    """Crystals, and what a pool of them misses.

    Parameters
    ----------
    crystals : all of them
    order : seeds in the order in which a pool takes them
    """

    def __init__(self, crystals: dict[str, Crystal], order: Sequence[int]) -> None:
        self.probe = {
            "structures": [_rows(each.structures[0][LONGEST:]) for each in crystals.values()],
            "atoms": [_rows(each.atoms[0][LONGEST:]) for each in crystals.values()],
        }
        self.crystals = {
            name: Crystal(
                each.cost,
                [each.structures[seed][:LONGEST] for seed in order],
                [each.atoms[seed][:LONGEST] for seed in order],
            )
            for name, each in crystals.items()
        }

    def work(self, lengths: Lengths) -> float:
        """Steps·atoms of trajectories of some lengths."""
        return sum(self.crystals[name].cost * count for (_, name), count in lengths.items())

    def trees(self, lengths: Lengths) -> dict[str, KDTree]:
        """Return structures and atoms of a pool."""
        return {
            what: KDTree(
                np.concatenate(
                    [_rows(getattr(self.crystals[name], what)[s][:n]) for (s, name), n in lengths.items()]
                )
            )
            for what in self.probe
        }

    def missed(self, lengths: Lengths) -> dict[str, list[NDArray[np.float64]]]:
        """Distances from the probe to a pool: of structures and of atoms, for each crystal."""
        trees = self.trees(lengths)
        return {what: [trees[what].query(each)[0] for each in probe] for what, probe in self.probe.items()}

    def news(self, lengths: Lengths) -> dict[str, float]:
        """Mean distance, over the thresholds, from second halves to all first halves."""
        before = {key: count - count // 2 for key, count in lengths.items()}
        trees, scores = self.trees(before), {}
        for name, crystal in self.crystals.items():
            found = []
            for seed in range(len(crystal.structures)):
                if count := lengths.get((seed, name)):
                    part = slice(before[seed, name], count)
                    of_atoms = trees["atoms"].query(crystal.atoms[seed][part])[0].max(1)
                    of_frames = trees["structures"].query(crystal.structures[seed][part])[0]
                    found.append(np.maximum(of_frames / THRESHOLDS[0], of_atoms / THRESHOLDS[1]))
            scores[name] = float(np.concatenate(found).mean())
        return scores

    def foresight(self, lengths: Lengths) -> dict[str, float]:
        """99th percentile of the distances that will be measured, over the thresholds."""
        missed = self.missed(lengths).values()
        return {
            name: max(
                float(np.percentile(far[i], 99)) / limit
                for far, limit in zip(missed, THRESHOLDS, strict=True)
            )
            for i, name in enumerate(self.crystals)
        }

    def each(self, score: Score) -> Score:
        """Return a score for each of the steps·atoms that it would cost."""
        return lambda lengths: {
            name: value / self.crystals[name].cost for name, value in score(lengths).items()
        }

    def same(self, count: int, seeds: int = 1) -> Lengths:
        """Return so many frames for every crystal."""
        return {(seed, name): count // seeds for seed in range(seeds) for name in self.crystals}

    def given(self, count: int, rule: Rule) -> Lengths:
        """Half of ``count`` frames for all, and the rest of the steps·atoms as a rule says."""
        score = self.foresight if rule.score == "foresight" else self.news
        score = score if rule.score == "news" else self.each(score)
        lengths, times = self.same(count // 2), _TIMES[rule.decisions]
        spent, budget = self.work(lengths), self.work(self.same(count))
        rest = (budget - spent) / rule.decisions
        for left in reversed(range(rule.decisions)):
            scores, limit, before = score(lengths), budget - left * rest, -1.0
            while before < spent:
                before = spent
                for name in sorted(self.crystals, key=lambda each: (-scores[each], each)):
                    crystal = self.crystals[name]
                    has = [lengths.get((seed, name), 0) for seed in range(len(crystal.structures))]
                    seed = int(np.argmin(has)) if rule.how == "other seed" else 0
                    twice = has[seed] if rule.how == "anew" else 0
                    room = len(crystal.structures[seed]) - has[seed]
                    got = min(times * sum(has), room, int((limit - spent) / crystal.cost) - twice)
                    if got > 0:
                        lengths[seed, name] = has[seed] + got
                        spent += (got + twice) * crystal.cost
        return lengths


def _rows(points: NDArray[np.float32]) -> NDArray[np.float32]:
    return points.reshape(-1, points.shape[-1])


Missed = list[dict[str, list[NDArray[np.float64]]]]
"""Distances that are missed by pools that begin with one seed or the other."""
STATISTICS: dict[str, Callable[[NDArray], float]] = {
    "mean": lambda each: float(each.mean()),
    "p99": lambda each: float(np.percentile(each, 99)),
    "max": lambda each: float(each.max()),
}


def compared(ours: Missed, theirs: Missed, draws: int = 300) -> Iterator[str]:
    """Yield each statistic of structures and of atoms, and its ratio to the other's with its interval."""
    rng = np.random.default_rng(0)
    count = len(ours[0]["atoms"])
    picks = [np.arange(count), *rng.integers(count, size=(draws, count))]
    for what in ours[0]:
        for of in STATISTICS.values():
            values = np.array(
                [
                    [
                        np.mean([of(np.concatenate([one[what][i] for i in pick])) for one in side])
                        for pick in picks
                    ]
                    for side in (ours, theirs)
                ]
            )
            ratios = values[0] / values[1]
            low, high = np.percentile(ratios[1:], [2.5, 97.5])
            yield f"{values[0, 0]:.3g} ({ratios[0]:.2f}, {low:.2f} to {high:.2f})"


def main() -> None:
    """Print a table for each budget."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--lengths", type=float, nargs="+", default=[2.0, 3.0, 5.0], help="ps for all")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    moments = [ShardMoments.read(path) for path in sorted((arguments.first / "features").glob("*.npz"))]
    for shard in moments[1:]:
        moments[0].structures.merge(shard.structures)
        moments[0].atoms.merge(shard.atoms)
    components = tuple(Components.fit(each, "kaiser") for each in (moments[0].structures, moments[0].atoms))
    recordings = [read_recording(folder) for folder in (arguments.first, arguments.second)]
    crystals = crystals_of(recordings, components)
    campaigns = [Campaign(crystals, order) for order in ((0, 1), (1, 0))]
    print(f"{len(crystals)} crystals")
    for length in arguments.lengths:
        count = round(length / FRAME_PS)
        print(f"\n{length:g} ps\n| pool | structures: mean | p99 | max | atoms: mean | p99 | max |")
        print("|---|---|---|---|---|---|---|")
        pools = {"one length": [campaign.same(count) for campaign in campaigns]}
        pools["two seeds"] = [campaign.same(count, 2) for campaign in campaigns]
        for rule in RULES:
            name = f"{rule.score}, {rule.how}, {rule.decisions} decision{'s' * (rule.decisions > 1)}"
            pools[name] = [campaign.given(count, rule) for campaign in campaigns]
        reference: Missed = []
        for name, both in pools.items():
            missed = [campaign.missed(pool) for campaign, pool in zip(campaigns, both, strict=True)]
            reference = reference or missed
            print(f"| {name} | {' | '.join(compared(missed, reference))} |", flush=True)


if __name__ == "__main__":
    main()
