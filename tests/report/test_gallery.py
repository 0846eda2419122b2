"""The gallery of crystals: counts as in the tables, a cap, and rows that open their structures."""

import re

import numpy as np

import pesatlas
from browser import needs_chromium, opened
from pesatlas.campaign.campaign_tables import CampaignTables
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.report.cell_picture import MOST_ATOMS, cell_picture
from pesatlas.report.crystal_summary import read_crystals
from pesatlas.report.gallery import SHOWN
from report_pages import page_of


def crystals_of(report):
    manifest = read_campaign_manifest(report.results)
    return read_crystals(CampaignTables(report.results, manifest), manifest["levels"])


def test_counts_of_crystals_are_those_of_the_tables(large):
    atlas = pesatlas.open(large.results)
    found = crystals_of(large)

    def total(table):
        return atlas.query(f"SELECT count(*) AS n FROM {table}").to_pylist()[0]["n"]

    assert sum(each.cells for each in found) == total("structures")
    assert sum(each.frames for each in found) == total("snapshots")
    assert sum(each.picks for each in found) == total("selection")
    assert sum(each.levels["mlip"].rows for each in found) == total("dataset")
    assert sum(each.failed for each in found) == 3  # two labels, one trajectory


def test_a_large_campaign_shows_crystals_with_flags_first(large):
    page = large.path.read_text()
    rows = re.findall(r'<tr data-elements="[^"]+">.*?</tr>', page, re.DOTALL)
    assert len(rows) == SHOWN
    assert all("data-frame=" in row for row in rows)
    assert (
        f"{SHOWN} of 499 crystals" in page_of(large).text or f"{SHOWN} of 500 crystals" in page_of(large).text
    )
    flagged = [each.name for each in crystals_of(large) if each.flags]
    assert flagged
    assert all(any(f"<br>{name}<br>" in row for row in rows) for name in flagged)


def test_a_small_campaign_shows_all_its_crystals_with_space_group_and_picture(small):
    page = small.path.read_text()
    rows = re.findall(r'<tr data-elements="[^"]+">.*?</tr>', page, re.DOTALL)
    assert len(rows) == len(crystals_of(small))
    assert all("<svg" in row and "<circle" in row for row in rows)


def cell(numbers, fractions, edge=4.0):
    return {
        "n_atoms": len(numbers),
        "numbers": numbers,
        "cell_A": (edge * np.eye(3)).ravel().tolist(),
        "positions_A": (edge * np.array(fractions)).ravel().tolist(),
    }


def test_a_cell_is_drawn_with_its_edges_and_all_images_on_corners():
    picture = cell_picture(cell([55, 17], [[0, 0, 0], [0.5, 0.5, 0.5]]), "CsCl")
    assert picture.count("<circle") == 8 + 1
    assert picture.count("M") == 12
    inside = [float(value) for value in re.findall(r'c[xy]="(-?[\d.]+)"', picture)]
    assert min(inside) >= 0
    assert max(inside) <= 96
    assert cell_picture(cell([6] * (MOST_ATOMS + 1), [[0.5, 0.5, 0.5]] * (MOST_ATOMS + 1)), "x") == ""


@needs_chromium
def test_a_row_opens_its_structures_and_steps_through_them_alone(small):
    with opened(small.path) as page:
        button = page.locator(".gallery [data-frame]").last
        name = button.get_attribute("data-frame")
        button.click()
        page.wait_for_function(
            "(name) => document.querySelector('#structure').dataset.shown === name", arg=name
        )
        crystal = name.split(":")[0]
        for _ in range(3):
            page.get_by_role("button", name="Next").click()
            page.wait_for_timeout(300)
            assert page.locator("#pick").input_value().startswith(f"{crystal}:")
        page.get_by_role("button", name="Show all").click()
        assert page.locator(".gallery tbody tr:visible").count() == page.locator(".gallery tbody tr").count()
