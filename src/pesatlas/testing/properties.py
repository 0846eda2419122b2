"""Tests of a benchmark property: declaration, one result per item, shares, restarts, failing potentials."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pesatlas.benchmark.item import BenchmarkItem
from pesatlas.benchmark.structure_sets import Sources
from pesatlas.potentials.potential import Batch, Evaluation
from pesatlas.tables import FailureReason, TableWriter
from pesatlas.testing.analytic import LennardJones, entry, measured
from pesatlas.testing.extension import ExtensionTests
from pesatlas.testing.labelled_dataset import labelled_rows

_FILE = "argon.json"
_STATISTICS = {"mae", "mean", "ratio", "half_life"}
_LENGTHS_A = (5.2, 5.25, 5.3, 5.35)


class _Nothing(LennardJones):
    """Has no number to say."""

    name = "analytic/nothing"

    def evaluate(self, batch: Batch) -> Evaluation:
        found = super().evaluate(batch)
        return Evaluation(*(each * math.nan for each in (found.energies, found.forces, found.stresses)))


class PropertyTests(ExtensionTests):
    """Tests of a property (``pesatlas.benchmarks``): it is measured of Lennard-Jones argon.

    Attributes
    ----------
    entries : keys that every entry of the file of data has besides its structure and the references

    Fixtures
    --------
    potential : another one than argon
    sources : override it to give files or tables of your own; four crystals of argon if not given
    """

    package = "pesatlas.benchmark.properties"
    entries: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def given(cls, module: Any) -> dict[str, Any]:
        """Options; those that take a file are given that of argon."""
        file = {"file": _FILE} if "file" in module.Options.model_fields else {}
        return {**file, **cls.options}

    @pytest.fixture(scope="class")
    @classmethod
    def potential(cls) -> Any:
        """Make the potential to benchmark."""
        return LennardJones()

    @pytest.fixture(scope="class")
    @classmethod
    def sources(cls, module: Any, tmp_path_factory: pytest.TempPathFactory) -> Sources:
        """Write a file of crystals with references, and a dataset."""
        folder = tmp_path_factory.mktemp("data")
        references = {column: 1.0 for _, _, column in module.QUANTITIES.values() if column}
        entries = [
            entry(f"ar-{i}", LennardJones().crystal(1, length), **{**references, **cls.entries})
            for i, length in enumerate(_LENGTHS_A)
        ]
        (folder / _FILE).write_text(json.dumps(entries))
        with TableWriter(folder / "dataset.parquet", "dataset", "made up") as writer:
            writer.write([row | {"split": "test"} for row in labelled_rows("pbe")[:4]])
        return Sources(folder, folder / "dataset.parquet", "pbe")

    def _measured(
        self, potential: Any, sources: Sources, given: dict[str, Any], place: Path, **how: Any
    ) -> Any:
        rows = measured(potential, self.kind, place, sources=sources, **how, **given)
        return [{key: value for key, value in row.items() if key != "wall_s"} for row in rows]

    def test_what_it_declares(self, module: Any, settings: Any) -> None:
        assert isinstance(module.VERSION, int)
        assert module.QUANTITIES
        for unit, statistic, column in module.QUANTITIES.values():
            assert isinstance(unit, str)
            assert isinstance(column, str)
            assert statistic in _STATISTICS
            assert column or statistic != "mae", "an error needs a reference"
        for name in ("quick", "full"):
            assert isinstance(module.SUITES[name], module.Options)
        assert json.loads(json.dumps(settings.settings())) == settings.settings()

    def test_cases_are_the_same_every_time(self, module: Any, settings: Any, sources: Sources) -> None:
        found, again = module.cases(settings, sources), module.cases(settings, sources)
        assert found
        assert all(isinstance(case, BenchmarkItem) for case in found)
        names = [(case.structure_id, json.dumps(case.conditions, sort_keys=True)) for case in found]
        assert len(set(names)) == len(names)
        assert [case.digest for case in found] == [case.digest for case in again]

    def test_every_case_has_an_answer(
        self,
        module: Any,
        settings: Any,
        given: dict[str, Any],
        potential: Any,
        sources: Sources,
        tmp_path: Path,
    ) -> None:
        rows = self._measured(potential, sources, given, tmp_path)
        cases = module.cases(settings, sources)
        expected = [(case.structure_id, name) for case in cases for name in module.QUANTITIES]
        assert [(row["structure_id"], row["quantity"]) for row in rows] == expected
        assert any(row["reason"] is None for row in rows), "of argon, something is measured"
        for row in rows:
            assert (row["value"] is None) <= (row["reason"] is not None)
            assert row["value"] is None or math.isfinite(row["value"])

    def test_shares_and_sizes_of_batches_change_nothing(
        self, module: Any, given: dict[str, Any], potential: Any, sources: Sources, tmp_path: Path
    ) -> None:
        if not getattr(module, "KEPT", True):
            return  # it measures the machine
        whole = self._measured(potential, sources, given, tmp_path / "whole", atoms_per_chunk=1000)
        shares = [
            row
            for k in range(2)
            for row in self._measured(
                potential, sources, given, tmp_path / "shares", share=slice(k, None, 2), atoms_per_chunk=4
            )
        ]
        by_name = {(row["structure_id"], row["quantity"]): row for row in shares}
        assert len(by_name) == len(whole)
        for row in whole:
            other = by_name[row["structure_id"], row["quantity"]]
            assert other["reason"] == row["reason"]
            assert other["value"] == pytest.approx(row["value"], rel=1e-4, abs=1e-6)

    def test_what_was_measured_is_not_measured_again(
        self, module: Any, given: dict[str, Any], sources: Sources, tmp_path: Path
    ) -> None:
        first, again = LennardJones(), LennardJones()
        rows = self._measured(first, sources, given, tmp_path)
        other = self._measured(again, sources, given, tmp_path)
        if getattr(module, "KEPT", True):
            assert other == rows
            assert again.evaluated == 0 < first.evaluated
        else:
            assert again.evaluated == first.evaluated

    def test_an_element_that_a_potential_does_not_know_is_a_row(
        self, given: dict[str, Any], sources: Sources, tmp_path: Path
    ) -> None:
        potential = LennardJones()
        potential.elements = frozenset({1})
        rows = self._measured(potential, sources, given, tmp_path)
        assert {row["reason"] for row in rows} == {FailureReason.UNSUPPORTED_ELEMENT.value}

    def test_a_potential_that_says_nothing_finite_gives_no_finite_value(
        self, module: Any, given: dict[str, Any], sources: Sources, tmp_path: Path
    ) -> None:
        if not getattr(module, "KEPT", True):
            return  # a time is a time
        rows = self._measured(_Nothing(), sources, given, tmp_path)
        assert rows, "a row for each, with a reason, and no error"
        for row in rows:
            assert row["reason"] is not None or row["outcome"], row

    def test_other_options_are_another_measurement(self, settings: Any, other_settings: Any) -> None:
        assert other_settings.settings() != settings.settings()
