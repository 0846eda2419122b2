"""The report as a person uses it: opened in a browser without a network, filtered, clicked at, saved from,
read aloud."""

import csv
import io

import numpy as np
import pytest

from browser import needs_chromium, opened, wait_for_all

pytestmark = needs_chromium


def rows_shown(page, figure, table):
    """Number of rows that are left of a table in a figure's view."""
    return page.evaluate(
        "([figure, table]) => { const view = document.querySelector(`#figure-${figure}`).view;"
        " return Object.entries(view.getState({data: () => true}).data).filter(([name]) => name === "
        "table).map(([, rows]) => rows.length)[0] }",
        [figure, table],
    )


def saved(page, figure, kind):
    with page.expect_download() as download:
        page.locator(f"#figure-{figure} [data-save={kind}]").click()
    assert download.value.suggested_filename.endswith(f"-{figure}.{kind}")
    return download.value.path().read_bytes()


def rows_of(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


@pytest.mark.proof
def test_every_figure_is_drawn(small, large):
    for report in (small, large):
        with opened(report.path) as page:
            wait_for_all(page)
            drawn = page.locator("figure .chart :is(svg, canvas)").count()
            assert drawn == page.locator("figure .chart").count() > 10


def test_an_element_chosen_in_the_list_filters_what_is_saved(large):
    with opened(large.path) as page:
        whole = rows_of(saved(page, "cohesive_energy", "csv"))
        page.select_option("#element", "O")
        oxides = rows_of(saved(page, "cohesive_energy", "csv"))
        assert len(whole) == 4998
        assert oxides == [row for row in whole if "|O|" in row["elements"]]
        assert 0 < len(oxides) < len(whole)
        assert page.locator("#shown").inner_text() == "Shown: O"
        page.get_by_role("button", name="Show all").click()
        assert len(rows_of(saved(page, "cohesive_energy", "csv"))) == len(whole)


def test_a_click_in_the_periodic_table_chooses_an_element_and_another_lets_it_go(large):
    with opened(large.path) as page:
        cell = page.locator("#figure-elements .chart svg text").get_by_text("O", exact=True)
        cell.scroll_into_view_if_needed()
        cell.click()
        assert page.locator("#element").input_value() == "O"
        bins = page.evaluate("document.querySelector('#figure-elements').view.signal('element')")
        assert bins == "O"
        cell.click()
        assert page.locator("#element").input_value() == ""


def test_a_click_on_a_point_shows_its_structure(large):
    with opened(large.path) as page:
        page.locator("#figure-map .chart").evaluate("(chart) => chart.scrollIntoView({block: 'center'})")
        # the first pick is shown by itself
        page.wait_for_function("document.querySelector('#structure').dataset.shown")
        place = page.evaluate(
            """() => {
              const view = document.querySelector('#figure-map').view;
              const points = view.data('frames').filter((row) => row.picked);
              const [x, y] = [view.scale('x'), view.scale('y')];
              const alone = (p) => points.every((q) => q === p || Math.hypot(x(p.pc1) - x(q.pc1), y(p.pc2) - y(q.pc2)) > 8);
              const point = points.find(alone);
              const box = view.container().querySelector('canvas, svg').getBoundingClientRect();
              const [left, top] = [view.origin()[0] + view.padding().left, view.origin()[1] + view.padding().top];
              return [box.x + left + x(point.pc1), box.y + top + y(point.pc2), point.snapshot_id];
            }"""
        )
        assert page.viewport_size["height"] > place[1] > page.locator("#filter").bounding_box()["height"]
        page.mouse.click(*place[:2])
        page.wait_for_function(
            "(name) => document.querySelector('#structure').dataset.shown === name", arg=place[2]
        )
        assert place[2] in page.locator("#about").inner_text()
        assert "label at mlip, accepted" in page.locator("#about").inner_text()
        assert page.locator("#viewer").evaluate("(element) => element.childElementCount") > 0
        page.get_by_role("button", name="Next pick").click()
        page.wait_for_function(
            "(name) => document.querySelector('#structure').dataset.shown !== name", arg=place[2]
        )


def test_a_level_chosen_leaves_the_others_out(small):
    with opened(small.path) as page:
        both = rows_of(saved(page, "cohesive_energy", "csv"))
        page.select_option("#level", "r2scan")
        one = rows_of(saved(page, "cohesive_energy", "csv"))
        assert {row["level"] for row in both} == {"pbe", "r2scan"}
        assert {row["level"] for row in one} == {"r2scan"}
        assert b"r2scan" in saved(page, "cohesive_energy", "svg")


def test_figures_are_saved_as_pictures(small):
    with opened(small.path) as page:
        assert saved(page, "parity_forces", "svg").startswith(b"<svg")
        assert saved(page, "parity_forces", "png").startswith(b"\x89PNG")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(small, scheme):
    from axe_playwright_python.sync_playwright import Axe

    with opened(small.path, color_scheme=scheme) as page:
        wait_for_all(page)
        # what is inside the three-dimensional viewer is chemiscope's own
        found = Axe().run(page, context={"exclude": ["#viewer"]}).response["violations"]
        assert [
            (fault["id"], fault["nodes"][0]["html"])
            for fault in found
            if fault["impact"] in {"serious", "critical"}
        ] == []


def test_nothing_is_cut_off_on_a_phone(small, large):
    for report in (small, large):
        with opened(report.path, viewport={"width": 375, "height": 700}) as page:
            wait_for_all(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= 375


def shown_errors(page, figure):
    """The text of errors in a parity plot."""
    return page.locator(f"#figure-{figure} .chart svg text").all_text_contents()


def test_parity_plots_are_square_with_their_errors_and_both_follow_the_filter(small):
    with opened(small.path) as page:
        wait_for_all(page)
        name = "parity_forces"
        size = page.evaluate(
            f"[...'wh'].map((side, i) => document.querySelector('#figure-{name}').view[['width', "
            "'height'][i]]())"
        )
        assert size[0] == size[1] > 150
        rows = rows_of(saved(page, name, "csv"))
        label, potential = (np.array([float(row[key]) for row in rows]) for key in ("label", "potential"))
        told = " ".join(shown_errors(page, name))
        assert f"MAE {np.abs(potential - label).mean():.3g} eV/Å" in told
        assert f"RMSE {np.sqrt(((potential - label) ** 2).mean()):.3g} eV/Å" in told
        r2 = 1 - ((potential - label) ** 2).mean() / label.var()
        assert f"R² {r2:.3f}" in told
        assert f"{len(rows)} points" in told
        element = page.locator("#element option").last.inner_text()
        page.select_option("#element", element)
        left = [row for row in rows if f"|{element}|" in row["elements"]]
        assert 0 < len(left) <= len(rows)
        page.wait_for_timeout(500)
        assert f"{len(left)} points" in " ".join(shown_errors(page, name))
        caption = page.locator(f"#figure-{name} .rows").inner_text()
        if len(left) < len(rows):
            assert caption == f"{len(left)} of these {len(rows)} rows are shown."
            page.get_by_role("button", name="Show all").click()
        assert page.locator(f"#figure-{name} .rows").inner_text() == f"{len(rows)} components of forces."


def test_the_map_is_coloured_by_a_column(large):
    with opened(large.path) as page:
        wait_for_all(page)
        choices = page.locator("[data-colour=map] option").all_inner_texts()
        assert {"pool and picks", "error", "heaviest element", "domain"} <= set(choices)
        assert "temperature" not in choices  # there is one only
        for choice in ("error", "domain"):
            page.select_option("[data-colour=map]", choice)
            page.wait_for_function(
                "(name) => "
                "JSON.stringify(document.querySelector('#figure-map').view.scale('color').domain()).length "
                "> 4"
                " && document.querySelector('[data-colour=map]').value === name",
                arg=choice,
            )
        page.wait_for_timeout(500)
        assert page.evaluate("document.querySelector('#figure-map').view.scale('color').domain()") == [
            "bulk",
            "strained",
        ]


def test_ticks_of_counts_are_whole_and_none_is_there_twice(small):
    with opened(small.path) as page:
        wait_for_all(page)
        for name in ("cohesive_energy", "pressure", "scf_steps"):
            ticks = (
                page.locator(f"#figure-{name} .chart .role-axis-label")
                .last.locator("text")
                .all_text_contents()
            )
            assert len(ticks) == len(set(ticks)) > 1
            assert all(tick == "" or tick.isdigit() for tick in ticks)
