"""Files generated from the models are current: config.yaml, presets, schema."""

import re
from pathlib import Path

import pytest
import yaml

from pesatlas.config.campaign import Campaign
from pesatlas.config.presets import PRESETS, PUBLISHED_KEYS, preset
from pesatlas.config.render import SCHEMA_FILE, render_schema, render_yaml

ROOT = Path(__file__).parents[2]
REMEDY = "run `make generate`"


@pytest.mark.parametrize("name", PRESETS)
def test_preset_files_are_current(name):
    assert (ROOT / "config" / f"{name}.yaml").read_text() == render_yaml(*preset(name)), REMEDY


def test_the_campaign_at_the_top_is_the_demo():
    assert (ROOT / "config.yaml").read_text() == render_yaml(*preset("demo")), REMEDY


def test_schema_is_current():
    assert (ROOT / SCHEMA_FILE).read_text() == render_schema(), REMEDY


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_rendered_reads_back_as_the_same_campaign(name):
    campaign, _, _ = preset(name)
    assert Campaign.model_validate(yaml.safe_load(render_yaml(*preset(name)))) == campaign


@pytest.mark.parametrize("name", PRESETS)
def test_every_remark_belongs_to_a_key_and_is_written(name):
    _, notes, _ = preset(name)
    text = render_yaml(*preset(name))
    for key, note in notes.items():
        assert f"# {note}" in text, key


KEY = re.compile(r"( *)(?:- )?(\w+):( .*)?$")


def commented_keys(text):
    """Each line of a configuration that has a key, with the comments above it."""
    above = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            above.append(line)
        elif KEY.match(line):
            yield line.split(":")[0].strip(), " ".join([*above, line.partition("#")[2]])
            above = []
        else:
            above = []


def test_every_key_of_matpes_says_whether_it_is_published():
    text = (ROOT / "config/matpes.yaml").read_text()
    found = list(commented_keys(text))
    assert len(found) > 120
    silent = [key for key, said in found if not re.search(r"\bpublished\b", said, re.IGNORECASE)]
    assert silent == []
    said = dict(found)
    for key in (
        "max_atoms",
        "remove_duplicates",
        "max_energy_above_hull_eV_per_atom",
        "vasp_version",
        "seed",
    ):
        assert re.search("not published", said[key], re.IGNORECASE), key
    for key in ("length_ps", "temperatures_K", "unit_cell", "levels", "threshold"):
        assert re.search(r"(?<!not )\bpublished\b", said[key], re.IGNORECASE), key
    assert not any(re.search("not published", said[key], re.IGNORECASE) for key in ("length_ps", "levels"))


def test_keys_that_are_called_published_are_keys():
    _, notes, _ = preset("matpes")
    assert set(notes) >= PUBLISHED_KEYS


def keys(model, path=""):
    for name, field in model.model_fields.items():
        yield f"{path}{name}", field
        if hasattr(field.annotation, "model_fields"):
            yield from keys(field.annotation, f"{path}{name}.")


def test_every_key_says_what_it_means():
    silent = [
        key
        for key, field in keys(Campaign)
        if not field.description and not hasattr(field.annotation, "model_fields")
    ]
    assert silent == []


def test_matpes_preset_has_the_published_numbers():
    # Kaplan et al., arXiv 2503.04070: 300 K, 1 atm, 2 fs, 100 ps, a frame each 0.1 ps; 16 PCs at 0.5; 8 PCs
    # at 0.1; 358,031 + 151,768
    campaign, _, _ = preset("matpes")
    bulk = campaign.structures.domains[0]
    assert (bulk.temperatures_K, bulk.pressures_GPa) == ([300.0], [pytest.approx(0.000101325)])
    explore, select = campaign.explore, campaign.select
    assert (explore.timestep_fs, explore.length_ps, explore.frame_interval_ps) == (2.0, 100.0, 0.1)
    assert (select.structure.components, select.structure.threshold) == (16, 0.5)
    assert (select.atoms.components, select.atoms.threshold) == (8, 0.1)
    assert select.target == 358_031 + 151_768
    assert campaign.label.levels == ["pbe", "r2scan"]
