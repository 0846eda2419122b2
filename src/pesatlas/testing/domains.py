"""Tests of a domain: explorable cells, unique names, the same cells in every run."""

from typing import Any, ClassVar

import numpy as np
import pytest

from pesatlas.dynamics.distance import min_distance
from pesatlas.structures.crystal import Cell, Crystal, Refused
from pesatlas.structures.crystal_names import is_valid
from pesatlas.structures.sources import demo
from pesatlas.tables import FailureReason
from pesatlas.testing.extension import ExtensionTests

_Made = dict[str, list[Cell | Refused]]


class DomainTests(ExtensionTests):
    """Tests of a domain (``pesatlas.domains``).

    Attributes
    ----------
    crystals : names of crystals of the source ``demo``; of one at least there is a cell

    Fixtures
    --------
    structures : override it to give crystals of your own, by name
    """

    package = "pesatlas.structures.domains"
    crystals: ClassVar[tuple[str, ...]] = ("MgO", "Al", "MoS2")

    @pytest.fixture(scope="class")
    @classmethod
    def structures(cls) -> dict[str, Crystal]:
        """Crystals to make cells of."""
        found = {}
        for name in cls.crystals:
            (found[name],) = demo.load(demo.Options(names=[name]))
        return {name: each for name, each in found.items() if isinstance(each, Crystal)}

    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, module: Any, settings: Any, structures: dict[str, Crystal]) -> _Made:
        """Make the cells of each crystal."""
        return {name: list(module.cells(settings, each)) for name, each in structures.items()}

    def test_it_makes_cells_or_states_the_reason(self, made: _Made) -> None:
        assert any(isinstance(each, Cell) for many in made.values() for each in many)
        for many in made.values():
            assert many, "a domain that makes nothing of a crystal says so with Refused"
            assert all(isinstance(each, Cell | Refused) for each in many)

    def test_variants_are_unique_safe_in_paths_and_of_the_domain(self, made: _Made) -> None:
        for many in made.values():
            variants = [each.variant for each in many]
            assert len(set(variants)) == len(variants)
            for each in many:
                # in file names and keys; a snapshot_id is structure:variant:condition:step
                assert is_valid(each.variant)
                assert self.kind == "bulk" or each.variant.startswith(self.kind)
                assert isinstance(each, Refused) or each.domain == self.kind

    def test_cells_can_be_explored(self, made: _Made) -> None:
        for each in _cells(made):
            assert np.linalg.det(each.cell) > 0
            assert each.positions.shape == (len(each.numbers), 3)
            assert np.isfinite(each.positions).all()
            assert set(each.numbers.tolist()) <= set(range(1, 119))
            assert min_distance(each.cell, each.positions) > 1.0 or 1 in each.numbers

    def test_conditions_are_named_apart_and_physical(self, made: _Made) -> None:
        for each in _cells(made):
            names = [condition.name for condition in each.conditions]
            assert all(is_valid(name) for name in names)
            assert len(set(names)) == len(names) > 0
            for condition in each.conditions:
                assert condition.temperature_K > 0 or not condition.moves
                assert condition.path is None or condition.path.end_A.shape == each.positions.shape
                assert all(segment.length_ps >= 0 < segment.start_K for segment in condition.ramp)

    def test_what_is_refused_has_a_reason(self, made: _Made) -> None:
        for many in made.values():
            for each in many:
                if isinstance(each, Refused):
                    assert isinstance(each.reason, FailureReason)
                    assert len(each.detail) > 10

    def test_the_same_cells_every_time(
        self, made: _Made, module: Any, given: dict[str, Any], structures: dict[str, Crystal]
    ) -> None:
        again = {name: list(module.cells(module.Options(**given), each)) for name, each in structures.items()}
        assert _comparable(again) == _comparable(made)

    def test_other_options_give_other_cells(
        self, made: _Made, module: Any, other_settings: Any, structures: dict[str, Crystal]
    ) -> None:
        other = {name: list(module.cells(other_settings, each)) for name, each in structures.items()}
        assert _comparable(other) != _comparable(made)

    def test_the_crystal_is_left_as_it_was(self, made: _Made, structures: dict[str, Crystal]) -> None:
        assert made
        for name, each in structures.items():
            (fresh,) = demo.load(demo.Options(names=[name])) if name in self.crystals else (each,)
            assert isinstance(fresh, Crystal)
            for before, after in (
                (fresh.numbers, each.numbers),
                (fresh.cell, each.cell),
                (fresh.positions, each.positions),
            ):
                np.testing.assert_array_equal(before, after)


def _cells(made: _Made) -> list[Cell]:
    return [each for many in made.values() for each in many if isinstance(each, Cell)]


def _comparable(made: _Made) -> list[Any]:
    """All that a domain says, as plain values."""
    return [
        (name, each.variant, each.reason, each.detail)
        if isinstance(each, Refused)
        else (
            name,
            each.variant,
            each.numbers.tolist(),
            each.cell.tolist(),
            each.positions.tolist(),
            repr([condition.as_row() for condition in each.conditions]),
        )
        for name, many in made.items()
        for each in many
    ]
