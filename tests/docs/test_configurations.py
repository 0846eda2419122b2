"""Every piece of configuration on a page, put into the demo's, is valid."""

import re

import pytest
import yaml

from pesatlas.campaign.load import load_campaign
from small_campaign import ROOT

# extending.md has extensions that are not there: test_extending.py
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{i}")
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if page.stem != "extending"
    for i, block in enumerate(
        re.findall(r"^ *```yaml\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE)
    )
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_documented_configuration_is_valid(block):
    raw = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    for section, values in yaml.safe_load(block).items():
        raw[section] = (raw.get(section) or {}) | values
    load_campaign(raw, extensions=False)


def test_there_are_such_pieces():
    assert len(BLOCKS) >= 8
