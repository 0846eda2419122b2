import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pesatlas import testing
from pesatlas.errors import UserError
from pesatlas.structures.sources import demo
from pesatlas.structures.sources import materials_project as mp

SECRET = "not-a-real-key-0123456789abcdef"


class Rester:
    """The network border: answers as mp-api's client does, and keeps what it was asked."""

    def __init__(self, documents, version="2025.09.25", error=None):
        self.documents, self.db_version, self.error = documents, version, error
        self.asked = []
        self.materials = SimpleNamespace(summary=self)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def search(self, **arguments):
        self.asked.append(arguments)
        if self.error:
            raise self.error
        return self.documents


def document(material_id, name, hull=0.0):
    from pymatgen.core import Element, Structure

    (crystal,) = demo.load(demo.Options(names=[name]))
    species = [Element.from_Z(int(z)) for z in crystal.numbers]
    structure = Structure(crystal.cell, species, crystal.positions, coords_are_cartesian=True)
    return SimpleNamespace(material_id=material_id, structure=structure, energy_above_hull=hull)


class TestMaterialsProject(testing.SourceTests):
    kind = "materials_project"
    options = {"elements": ["Mg"], "max_sites": 10}

    @pytest.fixture(autouse=True)
    def _in_tmp(self):
        """All its tests are in the one folder that was fetched into."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def fetched(cls, settings, tmp_path_factory):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path_factory.mktemp("campaign"))
            patch.setenv("MP_API_KEY", SECRET)
            mp.fetch(settings, Rester([document("mp-1265", "MgO", 0.01), document("mp-1000", "Mg2Si")]))
            yield


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MP_API_KEY", raising=False)


def test_fetched_once_then_read_without_network():
    options = mp.Options(
        elements=["Mg"], max_sites=10, max_energy_above_hull_eV_per_atom=0.1, chemical_systems=["Mg-O"]
    )
    rester = Rester([document("mp-1265", "MgO", 0.01), document("mp-1000", "Mg2Si")])
    mp.fetch(options, rester)
    mp.fetch(options, rester)
    assert rester.asked == [
        {
            "fields": ["material_id", "structure", "energy_above_hull"],
            "all_fields": False,
            "deprecated": False,
            "include_gnome": False,
            "elements": ["Mg"],
            "chemsys": ["Mg-O"],
            "energy_above_hull": (0, 0.1),
            "num_sites": (1, 10),
        }
    ]
    mp.check(options)
    first, second = mp.load(options)
    assert (first.structure_id, second.structure_id) == ("mp-1000", "mp-1265")
    assert second.source == "materials_project 2025.09.25"
    (magnesia,) = demo.load(demo.Options(names=["MgO"]))
    np.testing.assert_allclose(second.cell, magnesia.cell, atol=1e-12)
    np.testing.assert_allclose(second.positions, magnesia.positions, atol=1e-12)


def test_the_query_is_one_that_mp_api_accepts():
    import inspect

    summary = pytest.importorskip("mp_api.client.routes.materials.summary")
    known = set(inspect.signature(summary.SummaryRester.search).parameters)
    options = mp.Options(
        elements=["Mg"], max_sites=10, max_energy_above_hull_eV_per_atom=0.1, chemical_systems=["Mg-O"]
    )
    assert set(mp._arguments(options)) <= known


def test_neither_key_nor_cache():
    options = mp.Options(cache="here.parquet")
    for function in (mp.check, mp.fetch):
        with pytest.raises(
            UserError,
            match=r"cache: 'here.parquet' does not exist.*MP_API_KEY is not set.*Get a key.*export "
            r"MP_API_KEY.*structure_id",
        ):
            function(options)
    with pytest.raises(UserError, match="fetch_structures makes it"):
        list(mp.load(options))


def test_a_key_without_the_client(monkeypatch):
    monkeypatch.setenv("MP_API_KEY", SECRET)
    monkeypatch.setattr(mp.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"mp-api, which fetches it, is not installed: pip install 'pesatlas\[mp\]'"
    ):
        mp.check(mp.Options())


def test_the_key_is_never_told(monkeypatch, caplog):
    monkeypatch.setenv("MP_API_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    options = mp.Options()
    with pytest.raises(
        UserError, match="did not answer the query: RuntimeError: 401 for x-api-key"
    ) as caught:
        mp.fetch(options, Rester([], error=RuntimeError(f"401 for x-api-key {SECRET}")))
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__
    mp.fetch(options, Rester([document("mp-149", "Si")]))
    assert SECRET not in caplog.text
    assert SECRET.encode() not in Path(options.cache).read_bytes()


def test_a_failed_query_leaves_nothing_behind():
    with pytest.raises(UserError, match="Nothing was written"):
        mp.fetch(mp.Options(), Rester([], error=TimeoutError("slow")))
    with pytest.raises(UserError, match=r"no material for the filters elements: .'Og'."):
        mp.fetch(mp.Options(elements=["Og"]), Rester([]))
    assert list(Path().iterdir()) == []


def test_a_cache_of_other_filters_is_refused_and_kept():
    mp.fetch(mp.Options(max_sites=10), Rester([document("mp-149", "Si")]))
    before = Path(mp.Options().cache).read_bytes()
    other = mp.Options(max_sites=20)
    for function in (mp.check, mp.fetch, lambda options: list(mp.load(options))):
        with pytest.raises(
            UserError,
            match=r"other filters \(max_sites: 10\) than the configuration has \(max_sites: 20\).*delete it",
        ):
            function(other)
    assert Path(mp.Options().cache).read_bytes() == before


def test_a_cache_put_there_by_hand():
    (silicon,) = demo.load(demo.Options(names=["Si"]))
    rows = {
        "structure_id": ["mp-149", "mp-0", None],
        "numbers": [silicon.numbers.tolist(), None, [14]],
        "cell_A": [silicon.cell.reshape(-1).tolist()] * 3,
        "positions_A": [silicon.positions.reshape(-1).tolist()] * 3,
    }
    options = mp.Options(cache="hand.parquet")
    pq.write_table(pa.table(rows), "hand.parquet")
    mp.check(options)
    good, empty, nameless = mp.load(options)
    assert good.source == "materials_project unknown"
    assert (good.cell == silicon.cell).all()
    assert empty.reason == nameless.reason == "unreadable"


def test_broken_caches():
    options = mp.Options(cache="x.parquet")
    Path("x.parquet").write_text("PAR1 torn")
    with pytest.raises(UserError, match=r"cache: 'x.parquet' is not a readable Parquet file.*Delete it"):
        mp.check(options)
    pq.write_table(pa.table({"id": [1]}), "x.parquet")
    with pytest.raises(UserError, match="columns structure_id, numbers, cell_A, positions_A are missing"):
        list(mp.load(options))


def test_disordered_documents_are_counted_not_lost(caplog):
    from pymatgen.core import Lattice, Structure

    alloy = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    mp.fetch(
        mp.Options(), Rester([SimpleNamespace(material_id="mp-9", structure=alloy, energy_above_hull=0.0)])
    )
    assert "mp-9: disordered" in caplog.text
    (found,) = mp.load(mp.Options())
    assert (found.structure_id, found.reason) == ("mp-9", "unreadable")


def test_units_of_filters():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        mp.Options(max_energy_above_hull_eV_per_atom=-1)


def test_gnome_is_asked_for_only_if_meant_and_its_licence_is_said():
    assert "CC BY-NC 4.0" in mp.Options.model_fields["include_gnome"].description
    rester = Rester([document("mp-1", "Si")])
    mp.fetch(mp.Options(cache="without.parquet"), rester)
    mp.fetch(mp.Options(cache="with.parquet", include_gnome=True), rester)
    assert [asked["include_gnome"] for asked in rester.asked] == [False, True]
    assert mp.licence(mp.Options()) == "CC BY 4.0 (Materials Project)"
    assert "CC BY-NC 4.0" in mp.licence(mp.Options(include_gnome=True))
    # the one is not the other's cache, and a cache of before the key may have either
    with pytest.raises(UserError, match="include_gnome: True"):
        mp.check(mp.Options(cache="with.parquet"))
    old = pq.read_table("without.parquet")
    metadata = old.schema.metadata | {
        b"pesatlas.query": old.schema.metadata[b"pesatlas.query"].replace(b'"include_gnome": false, ', b"")
    }
    pq.write_table(old.replace_schema_metadata(metadata), "old.parquet")
    with pytest.raises(UserError, match="other filters"):
        mp.check(mp.Options(cache="old.parquet"))
    mp.check(mp.Options(cache="old.parquet", include_gnome=True))


def test_documents_without_a_usable_structure_become_failures_of_their_own():
    class Odd:
        """Looks like a structure until it is asked."""

        @property
        def is_ordered(self):
            raise ValueError("no sites")

    documents = [
        document("mp-1", "Si"),
        SimpleNamespace(material_id="mp-2", structure=None, energy_above_hull=0.0),
        SimpleNamespace(material_id="mp-3"),
        SimpleNamespace(material_id="mp-4", structure=Odd(), energy_above_hull=None),
        document("mp-5", "MgO"),
    ]
    options = mp.Options()
    mp.fetch(options, Rester(documents))
    found = {each.structure_id: each for each in mp.load(options)}
    assert [name for name, each in found.items() if hasattr(each, "cell")] == ["mp-1", "mp-5"]
    for name in ("mp-2", "mp-3", "mp-4"):
        assert found[name].reason == "unreadable"
        assert "no geometry" in found[name].detail
