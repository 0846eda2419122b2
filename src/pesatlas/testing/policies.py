"""Tests of a policy: independent of order and partition; targets, budgets, quotas and labels are honoured."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from pesatlas.config.select import Select
from pesatlas.testing.extension import ExtensionTests
from pesatlas.testing.selecting import Frames, frames_of_twelve_crystals, select

_HOURS_OF_64_ATOMS = 1024.0  # n atoms take (n/16)³ hours x 4


class PolicyTests(ExtensionTests):
    """Tests of a selection policy (``pesatlas.policies``).

    It picks from 300 frames of 12 crystals, through the whole stage.

    Attributes
    ----------
    fewest : so many it picks at least where 60 are wanted, the 6 crystals as given among them
    """

    package = "pesatlas.select.policies"
    fewest: ClassVar[int] = 12

    @pytest.fixture(scope="class")
    @classmethod
    def frames(cls) -> Frames:
        """Frames to pick from."""
        return frames_of_twelve_crystals()

    def _settings(self, given: dict[str, Any], **more: Any) -> Select:
        settings = {"structure": {"threshold": 0.1}, "atoms": {"threshold": 0.02}, "target": 60}
        return Select(**{**settings, "policy": {"kind": self.kind, **given}, **more})

    def test_candidates_of_a_cluster_are_a_number_or_all(self, module: Any) -> None:
        assert module.PER_CLUSTER is None or module.PER_CLUSTER >= 1
        assert getattr(module, "CELLS", 1) >= 1

    def test_ten_orders_and_partitions_give_the_identical_selection(
        self, given: dict[str, Any], frames: Frames, tmp_path: Path
    ) -> None:
        chosen = self._settings(given)
        one, counts = select(chosen, tmp_path / "one", frames)
        assert counts["selected"] >= self.fewest
        assert counts["duplicate"] == 5
        for seed in range(10):
            rng = np.random.default_rng(seed)
            cuts = sorted(rng.integers(0, 301, size=4).tolist())
            groups = [[4, 0], [2], [1, 3]] if seed % 2 else None
            other, of_other = select(
                chosen, tmp_path / f"{seed}", frames, rng.permutation(300), cuts=cuts, groups=groups
            )
            assert other == one
            assert of_other == counts

    def test_no_geometry_is_picked_twice_and_a_smaller_target_is_a_beginning(
        self, given: dict[str, Any], frames: Frames, tmp_path: Path
    ) -> None:
        rows, _ = select(self._settings(given), tmp_path / "many", frames)
        assert len({tuple(row["positions_A"]) for row in rows}) == len(rows) <= 60
        crystals = {row["structure_id"] for row in frames[0] if row["condition"] == "equilibrium"}
        first, rest = rows[: len(crystals)], rows[len(crystals) :]
        assert {row["structure_id"] for row in first} == crystals
        assert {row["policy"] for row in first} == {"equilibrium"}
        assert {row["policy"] for row in rest} == {self.kind}
        assert all(row["reason"].strip() for row in rest)
        few, _ = select(self._settings(given, target=20), tmp_path / "few", frames)
        assert few == rows[:20]

    def test_a_budget_ends_where_core_hours_end(
        self, given: dict[str, Any], frames: Frames, tmp_path: Path
    ) -> None:
        whole, _ = select(self._settings(given, target=300), tmp_path / "whole", frames)
        hours = np.cumsum([row["n_atoms"] ** 3 * _HOURS_OF_64_ATOMS / 64**3 for row in whole])
        most = hours[len(hours) // 2]
        budget = {"core_hours": float(most), "core_hours_of_64_atoms": _HOURS_OF_64_ATOMS}
        rows, counts = select(self._settings(given, target=300, budget=budget), tmp_path / "cut", frames)
        assert counts["selected"] == (hours <= most).sum() < len(whole)
        assert rows == whole[: len(rows)]

    def test_quotas_are_kept(self, given: dict[str, Any], frames: Frames, tmp_path: Path) -> None:
        asked = {"quotas": {"surface": 0.5}, "target": 20, "include_equilibrium": False}
        rows, _ = select(self._settings(given, **asked), tmp_path, frames)
        assert len(rows) == 20
        surfaces = [row["domain"] == "surface" for row in rows]
        assert sum(surfaces) == 10, "of one domain alone it picks as of all"
        assert 4 <= sum(surfaces[:10]) <= 6, "in turns, so that a smaller target has the shares, too"

    def test_what_is_labelled_already_is_not_picked_again(
        self, given: dict[str, Any], frames: Frames, tmp_path: Path
    ) -> None:
        rows, structures, atoms = frames
        first, counts = select(self._settings(given), tmp_path / "first", frames)
        assert counts["known"] == 0
        place = {row["snapshot_id"]: i for i, row in enumerate(rows)}
        picked = [place[row["snapshot_id"]] for row in first]
        known = [rows[i] for i in picked], structures[picked], [atoms[i] for i in picked]
        again, after = select(self._settings(given), tmp_path / "again", frames, reference=known)
        assert after["known"] == len(first)
        assert not {tuple(row["positions_A"]) for row in again} & {
            tuple(rows[i]["positions_A"]) for i in picked
        }
