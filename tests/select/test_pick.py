import logging
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from pesatlas.config.plugins import available
from pesatlas.config.select import Select
from pesatlas.errors import UserError
from pesatlas.select.candidates import count_distinct, find_candidates
from pesatlas.select.centres import Centres
from pesatlas.select.pick import novelty, pick_snapshots
from pesatlas.select.pool import Pool, round_robin
from pesatlas.tables import read_entry, read_table


def positions(n, shift=0.0):
    return np.arange(n)[:, None] * [2.5, 0.0, 0.0] + shift


def pick(settings, shards, clusters, folder, reference=None, groups=None):
    """Reduce and pick, with the shards in groups of given sizes (one each), and check that the sums close."""
    most = max(max(found, default=-1) for t in clusters for found in atoms_of(t))
    if reference:
        most = max([most, *(max(found) for found in atoms_of(reference.clusters))])
    means = np.arange(most + 1.0)[:, None] * [1.0, 0.3]
    Centres(0.1, np.array([0, most + 1]), means, np.ones(most + 1)).write(folder / "atoms.npz", "test")
    kept, hashes = [], []
    for i, (shard, table) in enumerate(zip(shards, clusters, strict=True)):
        kept.append(folder / f"candidates-{i}.parquet")
        hashes.append(folder / f"candidates-{i}.npy")
        find_candidates(settings, 1, [shard], table, folder / "atoms.npz", kept[-1], hashes[-1])
    path = folder / "selection.parquet"
    where = {
        "atoms": folder / "atoms.npz",
        "reference": reference,
        "selection": path,
        "structures_per_job": 3,
    }
    pick_snapshots(settings, 1, shards, kept, hashes, **where)
    counts = read_entry(path).counts
    assert counts["pool"] == sum(count for name, count in counts.items() if name != "pool")
    rows = read_table(path, "selection").to_pylist()
    assert len(rows) == counts["selected"]
    assert [row["rank"] for row in rows] == list(range(len(rows)))
    return rows, counts


def atoms_of(table):
    return read_table(table, "clusters", ["atom_clusters"]).column(0).to_pylist()


@pytest.fixture
def example(snapshot):
    """Two structure clusters; what to expect is worked out in the test that uses it first."""
    frames = {
        "a:unit:equilibrium:0": (0, [0, 0], [0.0, 0.0], 2),
        "a:unit:300K:1": (0, [0, 1], [0.1, 0.0], 2),
        "a:unit:300K:2": (0, [0, 1], [0.2, 0.0], 2),
        "a:sc:300K:1": (0, [0, 1, 2, 2], [0.3, 0.0], 4),
        "a:sc:300K:2": (0, [2, 3, 1, 0], [0.2, 0.1], 4),
        "b:unit:300K:1": (1, [4], [3.0, 0.0], 1),
        "b:unit:300K:2": (1, [4], [3.0, 0.5], 1),
        "b:sc:300K:1": (1, [4, 5], [3.0, 0.2], 2),
    }
    rows = []
    for i, (name, (*_, n)) in enumerate(frames.items()):
        rows.append(snapshot(name, positions(n, 0.01 * i), mlip_energy_eV=float(-i)))
    return rows, {name: found[:3] for name, found in frames.items()}


def test_matpes_picks_what_was_worked_out_by_hand(example, write_clusters, tmp_path):
    rows, clusters = example
    found, counts = pick(Select(include_equilibrium=False), *write_clusters(rows, clusters), tmp_path)
    # cluster 0: atomic clusters 0 and 1 have smallest cells of 2 atoms, 2 and 3 of 4 atoms. Both a:unit:300K
    # serve 0 and 1; a:unit:300K:2 lies nearer to the centre (0.16, 0.02). a:sc:300K:2 alone serves 2 and 3.
    # cluster 1: b:unit:300K:2 and :1 serve 4, the centre is (3, 0.233): :1 is nearer by 0.233 against 0.267.
    # b:sc:300K:1 serves 5. a:sc:300K:2 and a:unit:300K:2 serve two each: the nearer to the centre first.
    # Cluster 0 is larger, so first in each round.
    assert [row["snapshot_id"] for row in found] == [
        "a:unit:300K:2",
        "b:sc:300K:1",
        "a:sc:300K:2",
        "b:unit:300K:1",
    ]
    assert [row["reason"] for row in found] == [
        "smallest cell (2 atoms) in 2 atomic clusters of structure cluster 0",
        "smallest cell (2 atoms) in 1 atomic cluster of structure cluster 1",
        "smallest cell (4 atoms) in 2 atomic clusters of structure cluster 0",
        "smallest cell (1 atom) in 1 atomic cluster of structure cluster 1",
    ]
    assert [row["atom_clusters"] for row in found] == [2, 1, 2, 1]
    assert [row["batch"] for row in found] == [0, 0, 0, 1]
    assert {row["policy"] for row in found} == {"matpes"}
    expected = [0.2, np.hypot(2.8, 0.2), 0.1, 0.2]
    np.testing.assert_allclose([row["novelty"] for row in found], expected, atol=1e-6)
    assert counts == {
        "pool": 8,
        "selected": 4,
        "over_target": 0,
        "not_finite": 0,
        "too_close": 0,
        "duplicate": 0,
        "known": 0,
        "redundant": 4,
    }


def test_every_atomic_cluster_gets_one_of_its_smallest_cells(snapshot, write_clusters, tmp_path):
    rng = np.random.default_rng(7)
    rows, clusters = [], {}
    for i in range(300):
        n, group = int(rng.integers(1, 6)), int(rng.integers(8))
        name = f"x-{group}:unit:300K:{i}"
        rows.append(snapshot(name, rng.uniform(0, 10, size=(n, 3))))
        clusters[name] = (
            group,
            (group * 20 + rng.integers(20, size=n)).tolist(),
            rng.normal(size=2).tolist(),
        )
    found, _ = pick(Select(include_equilibrium=False), *write_clusters(rows, clusters), tmp_path)
    smallest = {}
    for row in rows:
        for cluster in clusters[row["snapshot_id"]][1]:
            smallest[cluster] = min(smallest.get(cluster, 99), row["n_atoms"])
    served = {c for row in found for c in clusters[row["snapshot_id"]][1] if smallest[c] == row["n_atoms"]}
    assert served == set(smallest)
    assert sum(row["atom_clusters"] for row in found) == len(smallest)
    assert len(found) < len(smallest)


def test_geometry_is_that_of_the_snapshot_wherever_it_lies(example, write_clusters, tmp_path):
    rows, clusters = example
    one, _ = pick(Select(), *write_clusters(rows, clusters), tmp_path)
    shards, path = write_clusters(rows[::-1], clusters, cuts=(1, 1, 5))
    other, _ = pick(Select(), shards, path, tmp_path)
    assert one == other
    by_name = {row["snapshot_id"]: row for row in rows}
    for row in one:
        source = by_name[row["snapshot_id"]]
        assert all(
            row[name] == source[name]
            for name in ("numbers", "positions_A", "cell_A", "mlip_energy_eV", "variant", "step")
        )


def test_look_up_reaches_every_row_group(snapshot, write_clusters, tmp_path):
    rows = [snapshot(f"x:unit:300K:{i}", positions(1, 1e-3 * i)) for i in range(1300)]
    clusters = {f"x:unit:300K:{i}": (0, [i if i in {3, 511, 512, 1299} else 0], [0.0]) for i in range(1300)}
    found, counts = pick(Select(), *write_clusters(rows, clusters), tmp_path)
    assert counts["selected"] == 5
    for row in found:
        np.testing.assert_allclose(row["positions_A"], 1e-3 * int(row["snapshot_id"].split(":")[-1]))


def test_equilibrium_crystals_come_first_once_for_a_crystal(example, snapshot, write_clusters, tmp_path):
    rows, clusters = example
    for name, n in (("a:sc:equilibrium:0", 4), ("b:unit:equilibrium:0", 1)):
        rows.append(snapshot(name, positions(n, 0.5)))
    clusters |= {"a:sc:equilibrium:0": (0, [0] * 4, [0.0, 0.0]), "b:unit:equilibrium:0": (1, [4], [3.0, 0.0])}
    found, counts = pick(Select(), *write_clusters(rows, clusters), tmp_path)
    assert [row["snapshot_id"] for row in found[:2]] == ["a:unit:equilibrium:0", "b:unit:equilibrium:0"]
    assert [row["policy"] for row in found[:3]] == ["equilibrium", "equilibrium", "matpes"]
    assert {row["reason"] for row in found[:2]} == {"equilibrium crystal"}
    # they serve atomic clusters 0 and 4, so that these need no other pick
    assert {row["snapshot_id"] for row in found[2:]} == {"a:unit:300K:1", "a:sc:300K:2", "b:sc:300K:1"}
    assert next(row for row in found if row["snapshot_id"] == "a:unit:300K:1")["atom_clusters"] == 1
    assert counts["redundant"] == 5


def test_target_cuts_by_rank_and_may_be_larger_than_the_pool(example, write_clusters, tmp_path):
    rows, clusters = example
    shards, path = write_clusters(rows, clusters)
    whole, counts = pick(Select(target=10_000), shards, path, tmp_path)
    assert counts["over_target"] == 0
    for target in range(1, len(whole)):
        cut, counts = pick(Select(target=target), shards, path, tmp_path)
        assert cut == whole[:target]
        assert counts["over_target"] == len(whole) - target


def test_fewer_places_than_equilibrium_crystals_is_said(snapshot, write_clusters, tmp_path, caplog):
    rows = [snapshot(f"x-{i}:unit:equilibrium:0", positions(1, 0.1 * i)) for i in range(5)]
    clusters = {row["snapshot_id"]: (i // 3, [i], [float(i)]) for i, row in enumerate(rows)}
    with caplog.at_level(logging.WARNING):
        found, counts = pick(Select(target=2), *write_clusters(rows, clusters), tmp_path)
    assert "3 of them are not labelled" in caplog.text
    assert [row["structure_cluster"] for row in found] == [0, 1]
    assert counts["over_target"] == 3


def test_what_must_not_be_picked_is_counted_by_its_first_cause(snapshot, write_clusters, tmp_path):
    rows = [
        snapshot("a:unit:300K:0", positions(2)),
        snapshot("a:unit:equilibrium:0", positions(2)),  # the same geometry, and the one that stays
        snapshot("a:unit:300K:1", positions(2, 5e-9)),  # the same to 1e-8 Å
        snapshot("a:unit:300K:2", positions(2, 1e-6)),  # not the same
        snapshot("b:unit:300K:0", positions(2, 1.0), min_distance_A=0.69),
        snapshot("b:unit:300K:1", positions(2, 2.0), mlip_energy_eV=float("nan")),
        snapshot("b:unit:300K:2", positions(2, 3.0), mlip_stress_eV_per_A3=[0.0, 0, 0, 0, 0, float("inf")]),
        snapshot("b:unit:300K:3", positions(2, 4.0), min_distance_A=float("nan")),
        snapshot("b:unit:300K:4", positions(2, float("nan"))),
        snapshot("b:unit:300K:5", positions(2, 6.0)),
    ]
    clusters = {row["snapshot_id"]: (0, [i, i], [0.0, 0.1 * i]) for i, row in enumerate(rows)}
    clusters["b:unit:300K:5"] = (-1, [-1, -1], [float("nan")] * 2)
    found, counts = pick(Select(), *write_clusters(rows, clusters), tmp_path)
    assert {row["snapshot_id"] for row in found} == {"a:unit:equilibrium:0", "a:unit:300K:2"}
    assert counts == {
        "pool": 10,
        "selected": 2,
        "over_target": 0,
        "not_finite": 5,
        "too_close": 1,
        "duplicate": 2,
        "known": 0,
        "redundant": 0,
    }


def test_a_flipped_bit_in_the_geometries_is_found_before_duplicates_are_counted(
    example, write_clusters, tmp_path
):
    pick(Select(target=4), *write_clusters(*example), tmp_path)
    path = tmp_path / "candidates-0.npy"
    before = count_distinct([path])
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"candidates-0\.npy: its content differs .*Delete it and run again"):
        count_distinct([path])
    content[-3] ^= 4
    path.write_bytes(content)
    assert count_distinct([path]) == before


def test_a_pool_without_anything_to_pick_gives_an_empty_selection(snapshot, write_clusters, tmp_path):
    rows = [snapshot("a:unit:300K:0", positions(2), min_distance_A=0.1)]
    found, counts = pick(Select(), *write_clusters(rows, {"a:unit:300K:0": (0, [0, 0], [0.0])}), tmp_path)
    assert (found, counts["too_close"]) == ([], 1)


def test_clusters_of_other_snapshots_are_refused(example, write_clusters, tmp_path):
    rows, clusters = example
    shards, _ = write_clusters(rows[::-1], clusters)
    _, path = write_clusters(rows, clusters, cuts=(8,))
    path = path[:1]
    with pytest.raises(UserError, match="does not belong to these snapshots"):
        pick(Select(), shards, path, tmp_path)


def test_round_robin_serves_every_cluster_before_a_second_time():
    clusters = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2], dtype=np.int32)
    pool = Pool(*[None] * 6, clusters, *[None] * 9)
    assert round_robin(pool, [3, 1, 4, 5, 8, 7], []) == [3, 4, 8, 1, 5, 7]
    assert round_robin(pool, [3, 1, 4, 5, 8], [0, 2]) == [4, 8, 5, 3, 1]


def test_novelty_is_the_distance_to_the_nearest_earlier_row():
    x = np.random.default_rng(0).normal(size=(90, 4))
    x[40] = x[3]
    expected = [np.linalg.norm(x[0])] + [np.linalg.norm(x[:i] - x[i], axis=1).min() for i in range(1, 90)]
    for block in (7, 32, 2048):
        np.testing.assert_allclose(novelty(x, block), expected, atol=1e-12)


def test_policies_are_found_by_name():
    assert available("pesatlas.select.policies") == [
        "cover",
        "disagree",
        "facility",
        "farthest",
        "matpes",
        "mixed",
        "random",
    ]


@pytest.fixture
def three_domains(snapshot):
    """Ninety frames of bulk, twelve of surface, three of hot, each with an atomic cluster of its own."""
    rows, clusters = [], {}
    for domain, count, atoms in (("bulk", 90, 1), ("surface", 12, 2), ("hot", 3, 1)):
        for i in range(count):
            name = f"{domain}-{i:02d}:unit:300K:1"
            rows.append(snapshot(name, positions(atoms, 0.001 * len(rows)), domain=domain))
            clusters[name] = (0, [len(rows)] * atoms, [0.01 * len(rows), 0.0])
    return rows, clusters


def shares(found):
    count = Counter(row["domain"] for row in found)
    return {name: count[name] for name in ("bulk", "surface", "hot")}


@pytest.mark.parametrize("policy", ["cover", "farthest", "matpes", "random"])
def test_every_policy_honours_quotas(three_domains, write_clusters, tmp_path, policy):
    settings = {"policy": {"kind": policy}, "include_equilibrium": False}
    shards = write_clusters(*three_domains)
    quotas = {"surface": 0.3, "hot": 0.2}
    found, counts = pick(Select(target=20, quotas=quotas, **settings), *shards, tmp_path)
    # hot has three frames for its four places; the others share the one that is left
    assert shares(found) in ({"bulk": 11, "surface": 6, "hot": 3}, {"bulk": 10, "surface": 7, "hot": 3})
    assert counts["selected"] == 20
    # a smaller target is the beginning of a larger one, and has the shares, too
    fewer, _ = pick(Select(target=10, quotas=quotas, **settings), *shards, tmp_path)
    assert shares(fewer) == {"bulk": 5, "surface": 3, "hot": 2}
    if policy != "random":
        assert [row["snapshot_id"] for row in fewer] == [row["snapshot_id"] for row in found[:10]]


def test_with_a_budget_quotas_are_shares_of_what_dft_costs(three_domains, write_clusters, tmp_path):
    # a surface has two atoms and costs eight times what a bulk cell of one atom does: half of 80 for each
    budget = {"core_hours": 80, "core_hours_of_64_atoms": 64**3}
    settings = {"policy": {"kind": "random"}, "include_equilibrium": False, "target": 1000}
    found, _ = pick(
        Select(budget=budget, quotas={"surface": 0.5}, **settings),
        *write_clusters(*three_domains),
        tmp_path,
    )
    count = shares(found)
    assert count["surface"] == 5
    assert count["bulk"] + count["hot"] == 40


def test_shares_of_more_than_all_and_of_unknown_domains_are_refused():
    from pesatlas.config.campaign import Campaign

    with pytest.raises(ValidationError, match="more than 1"):
        Select(quotas={"bulk": 0.7, "surface": 0.4})
    with pytest.raises(ValidationError, match=r"no domain 'surface' in structures.domains, which has bulk"):
        Campaign.model_validate(
            {
                "structures": {"sources": [{"kind": "demo"}]},
                "explore": {},
                "encode": {},
                "select": {"quotas": {"surface": 0.4}},
                "label": {},
            }
        )
