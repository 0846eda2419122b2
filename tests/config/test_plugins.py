"""Extensions of other distributions: found by name, harmless until they are asked for, and never in the
place of ours."""

import json
import sys

import pytest
import yaml

from pesatlas.campaign.load import load_campaign
from pesatlas.config import plugins
from pesatlas.config.campaign import Campaign
from pesatlas.config.plugins_used import plugins_in
from pesatlas.config.render import render_schema, render_yaml
from pesatlas.errors import UserError
from pesatlas.levels.lookup import levels_of, supported_elements
from small_campaign import ROOT

GOOD = '''
from typing import Literal

from pydantic import Field

from pesatlas.config.section import Runtime, Section


class Size(Section):
    """A part of the options."""

    length_A: float = Field(3.0, gt=0)


class Options(Section):
    kind: Literal["{kind}"] = "{kind}"
    number: int = Field(1, ge=1)
    size: Size = Size()
    threads: int = Runtime(1)


def load(options, device=None):
    return []


cells = calculate = choose = order = cases = measure = export = load
PER_CLUSTER = VERSION = 1
SUITES = QUANTITIES = {{}}


def read(path):
    yield from ()


def levels(options, names):
    from pesatlas.levels.level import Level

    return {{n: Level(name=n, code={{}}, functional="x", settings={{}}, pseudopotentials="") for n in names}}


def elements(options):
    return frozenset({{1, 11, 17}})


def check(options):
    from pesatlas.errors import UserError

    if options.number > 5:
        raise UserError("there are not so many. Take 5.")
'''
GROUPS = {group.word: group.name for group in plugins.GROUPS.values()}


def forget():
    plugins._entry_points.cache_clear()
    plugins._installed.cache_clear()
    plugins._load.cache_clear()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay down distributions as pip does; each has modules by name and entry points as (word of the kind,
    name, place)."""

    def lay(distribution, version, modules, entries):
        folder = tmp_path / distribution
        about = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"[{GROUPS[word]}]\n{name} = {place}" for word, name, place in entries]
        (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(folder)
        forget()

    yield lay
    monkeypatch.undo()
    forget()


def raw(**changes):
    """The demo's configuration with some keys, written with two underscores for a dot, changed."""
    found = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    for key, value in changes.items():
        *sections, last = key.split("__")
        place = found
        for section in sections:
            place = place[section]
        place[last] = value
    return found


@pytest.fixture
def gas(install):
    """A good distribution with an extension of every kind; nothing is said of importing it."""
    entries = [(word, "gas", "plug_gas") for word in GROUPS]
    install("pesatlas-gas", "1.2", {"plug_gas": GOOD.format(kind="gas")}, entries)


PLACES = {
    "structures.sources": [{"kind": "gas", "number": 2}],
    "structures.domains": [{"kind": "gas"}],
    "explore.potential": {"kind": "gas"},
    "encode.encoder": {"kind": "gas"},
    "select.policy": {"kind": "gas"},
    "label.backend": {"kind": "gas"},
    "dataset.exports": {"formats": ["extxyz", "gas"]},
    "benchmark": {"properties": [{"kind": "gas"}]},
}


@pytest.mark.parametrize("place", PLACES)
def test_every_kind_is_found_by_its_name_checked_and_written(gas, place):
    campaign = load_campaign(raw(**{place.replace(".", "__"): PLACES[place]}))
    dumped = campaign.model_dump(mode="json")
    (plugin,) = plugins_in(dumped)
    assert (plugin.name, plugin.distribution, plugin.version) == ("gas", "pesatlas-gas", "1.2")
    assert Campaign.model_validate(dumped) == campaign
    assert Campaign.model_validate(yaml.safe_load(render_yaml(campaign, {}))) == campaign


def test_options_of_an_installed_kind_are_options_like_ours(gas):
    with_threads = [{"kind": "gas", "number": 2, "size": {"length_A": 4}, "threads": 8}]
    campaign = load_campaign(raw(structures__sources=with_threads))
    (options,) = campaign.structures.sources
    assert options.size.length_A == 4.0
    assert options.identity() == {"kind": "gas", "number": 2, "size": {"length_A": 4.0}}
    for wrong, said in (
        ({"number": 0}, "structures.sources.0.number = 0"),
        ({"nmber": 1}, "structures.sources.0.nmber: unknown key"),
        ({"size": {"length_A": -1}}, "structures.sources.0.size.length_A"),
        ({"number": 6}, r"structures.sources \(gas\): there are not so many"),
    ):
        with pytest.raises(UserError, match=said):
            load_campaign(raw(structures__sources=[{"kind": "gas", **wrong}]))


def test_an_installed_backend_tells_its_own_levels(gas):
    backend = load_campaign(raw(label__backend={"kind": "gas"})).label.backend
    assert list(levels_of(backend, ["pbe"])) == ["pbe"]
    assert supported_elements(backend) == {1, 11, 17}


def test_nothing_is_imported_until_it_is_asked_for(gas):
    load_campaign(raw())
    assert "plug_gas" not in sys.modules
    load_campaign(raw(select__policy={"kind": "gas"}))
    assert "plug_gas" in sys.modules


def test_ours_are_found_without_looking_at_what_is_installed(install, monkeypatch):
    def look():
        raise AssertionError("nobody has to look")

    monkeypatch.setattr(plugins, "entry_points", look)
    forget()
    load_campaign(raw())


def test_the_schema_has_what_is_installed(gas):
    schema = json.loads(render_schema())
    ours = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    for section, key in (("Structures", "sources"), ("Explore", "potential"), ("Label", "backend")):
        about, before = (each["$defs"][section]["properties"][key] for each in (schema, ours))
        *_, mine = kinds = about.get("items", about)["oneOf"]
        assert kinds[:-1] == before.get("items", before)["oneOf"]
        assert mine["properties"]["kind"]["const"] == "gas"
        assert mine["properties"]["number"]["minimum"] == 1
        assert mine["additionalProperties"] is False
        inner = schema["$defs"][mine["properties"]["size"]["$ref"].rpartition("/")[2]]
        assert inner["properties"]["length_A"]["exclusiveMinimum"] == 0
    assert "gas" in schema["$defs"]["Exports"]["properties"]["formats"]["items"]["enum"]


BROKEN = {
    "import": ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
    "error": ("1 / 0", "ZeroDivisionError"),
    "exit": ("raise SystemExit(0)", "SystemExit: 0"),
    "options": ("def load(options): ...", "has no class Options"),
    "load": (
        GOOD.format(kind="bad").replace("def load", "def loads").replace("= load", "= loads"),
        "has no load",
    ),
    "kind": (GOOD.format(kind="good"), 'has Options without `kind: Literal\\["bad"\\]`'),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_cannot_be_used_is_an_error_of_those_who_ask_for_it(install, how):
    text, said = BROKEN[how]
    install("pesatlas-bad", "0.3", {"plug_bad": text}, [("source", "bad", "plug_bad")])
    load_campaign(raw())
    json.loads(render_schema())
    with pytest.raises(UserError, match=said) as error:
        load_campaign(raw(structures__sources=[{"kind": "bad"}]))
    (line,) = str(error.value).splitlines()[1:]
    for part in ("structures.sources.0", "source bad (pesatlas-bad 0.3)", "plug_bad"):
        assert part in line
    with pytest.raises(UserError, match=said):
        plugins.find("pesatlas.structures.sources", "bad")


def test_what_it_prints_while_it_is_imported_is_no_answer_of_ours(install, capsys):
    text = GOOD.format(kind="chatty") + "\nprint('hello')\n"
    install("pesatlas-chatty", "1", {"plug_chatty": text}, [("source", "chatty", "plug_chatty")])
    load_campaign(raw(structures__sources=[{"kind": "chatty"}]))
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "hello\n")


def test_a_name_that_no_file_could_have_is_refused(install):
    install("pesatlas-odd", "1", {"plug_odd": GOOD.format(kind="../odd")}, [("policy", "../odd", "plug_odd")])
    with pytest.raises(UserError, match="lower-case letters"):
        load_campaign(raw(select__policy={"kind": "../odd"}))


def test_ours_cannot_be_replaced(install):
    install(
        "pesatlas-evil",
        "6.6",
        {"plug_evil": "raise SystemExit('imported')"},
        [("potential", "chgnet", "plug_evil"), ("exporter", "extxyz", "plug_evil")],
    )
    assert plugins.find("pesatlas.potentials.kinds", "chgnet").__name__ == "pesatlas.potentials.kinds.chgnet"
    load_campaign(raw())
    assert render_schema() == (ROOT / "workflow/schemas/config.schema.json").read_text()
    assert plugins_in(raw()) == []
    (left,) = plugins.plugins("pesatlas.potentials.kinds", shadowed=True)
    assert str(left) == "potential chgnet (pesatlas-evil 6.6)"
    assert "plug_evil" not in sys.modules


def test_two_distributions_with_one_name_are_both_named(install):
    for name in ("pesatlas-one", "pesatlas-two"):
        module = f"plug_{name[-3:]}"
        install(name, "1", {module: GOOD.format(kind="same")}, [("source", "same", module)])
    with pytest.raises(
        UserError, match=r"pesatlas-(one|two) 1 and pesatlas-(one|two) 1 both have a source 'same'"
    ):
        load_campaign(raw(structures__sources=[{"kind": "same"}]))


def test_an_unknown_kind_is_answered_with_ours_and_the_installed(gas):
    with pytest.raises(UserError, match=r"no such kind\. Choose one of 'chgnet', 'external', 'matgl', 'gas'"):
        load_campaign(raw(explore__potential={"kind": "gsa"}))
    with pytest.raises(UserError, match=r"Known: chgnet, external, matgl, gas\."):
        plugins.find("pesatlas.potentials.kinds", "gsa")


def test_a_configuration_cannot_say_what_is_imported(tmp_path, monkeypatch):
    (tmp_path / "module_beside.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for kind in ("module_beside", "module_beside:Options", "../module_beside", "os"):
        with pytest.raises(UserError, match="no such kind"):
            load_campaign(raw(structures__sources=[{"kind": kind}]))
    assert "module_beside" not in sys.modules
