"""Tests of a source of crystals: names, geometry, the same in every run."""

from typing import Any

import numpy as np
import pytest

from pesatlas.dynamics.distance import min_distance
from pesatlas.structures.crystal import Crystal, Rejected
from pesatlas.tables import FailureReason
from pesatlas.testing.extension import ExtensionTests


class SourceTests(ExtensionTests):
    """Tests of a structure source (``pesatlas.sources``).

    Fixtures
    --------
    given : override it to make the files that it reads, or to put there what it would fetch: tests have no
        network
    """

    package = "pesatlas.structures.sources"

    @pytest.fixture(scope="class")
    @classmethod
    def found(cls, module: Any, settings: Any) -> list[Crystal | Rejected]:
        """Read it, as a campaign does."""
        if hasattr(module, "check"):
            module.check(settings)
        return list(module.load(settings))

    def test_it_gives_crystals(self, found: list[Crystal | Rejected]) -> None:
        assert any(isinstance(each, Crystal) for each in found)
        assert all(isinstance(each, Crystal | Rejected) for each in found)

    def test_names_are_unique(self, found: list[Crystal | Rejected]) -> None:
        names = [each.structure_id for each in found]
        assert all(names)
        assert len(set(names)) == len(names)

    def test_a_crystal_is_periodic_ordered_and_right_handed(self, found: list[Crystal | Rejected]) -> None:
        for each in found:
            if not isinstance(each, Crystal):
                continue
            atoms = len(each.numbers)
            assert each.numbers.shape == (atoms,)
            assert np.issubdtype(each.numbers.dtype, np.integer)
            assert (each.cell.shape, each.positions.shape) == ((3, 3), (atoms, 3))
            assert atoms > 0
            assert set(each.numbers.tolist()) <= set(range(1, 119))
            assert np.isfinite(each.positions).all()
            assert np.linalg.det(each.cell) > 0, (
                "left-handed, or without a volume: make_crystal mends or rejects it"
            )
            assert min_distance(each.cell, each.positions) > 0.3, "Å: are these fractional coordinates?"
            assert each.source.strip(), "kind and version of the source"

    def test_what_is_rejected_has_a_reason(self, found: list[Crystal | Rejected]) -> None:
        for each in found:
            if isinstance(each, Rejected):
                assert isinstance(each.reason, FailureReason)
                assert each.detail.strip()

    def test_the_same_crystals_every_time(
        self, found: list[Crystal | Rejected], module: Any, given: dict[str, Any]
    ) -> None:
        again = list(module.load(module.Options(**given)))
        assert list(map(_comparable, again)) == list(map(_comparable, found))

    def test_other_options_give_other_crystals(
        self, found: list[Crystal | Rejected], module: Any, other_settings: Any
    ) -> None:
        assert list(map(_comparable, module.load(other_settings))) != list(map(_comparable, found))

    def test_licence_and_files_are_said_as_they_are(self, module: Any, settings: Any) -> None:
        if hasattr(module, "licence"):
            assert module.licence(settings).strip()
        if hasattr(module, "inputs"):
            for path in module.inputs(settings):
                assert path, "a file whose change makes the crystals anew"


def _comparable(read: Crystal | Rejected) -> tuple[Any, ...]:
    """All data of a source on one entry."""
    if isinstance(read, Rejected):
        return (read.structure_id, read.reason, read.detail)
    arrays = [each.tolist() for each in (read.numbers, read.cell, read.positions)]
    return (read.structure_id, read.source, read.warnings, *arrays)
