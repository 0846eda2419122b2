"""The command ``pesatlas plan``."""

from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pesatlas.campaign.layout import below
from pesatlas.campaign.load import read_campaign
from pesatlas.cli.app import print_json
from pesatlas.monitor.assumed_costs import assumed_costs
from pesatlas.monitor.comparison_design import design_of
from pesatlas.monitor.fit import misfits, survey_of
from pesatlas.monitor.plan import Machine, count, plan, render
from pesatlas.monitor.rates import Rate, assumed, measured, measured_cells, sampled_cells
from pesatlas.monitor.strain_gate import strain_lines


def show_plan(
    config: Path,
    calibration: Path | None,
    structures: int | None,
    given: dict[str, float | None],
    machine: Machine,
    console: Console,
    *,
    as_json: bool = False,
    source: str = "--structures",
) -> None:
    """Print what the campaign of ``config`` will take.

    Parameters
    ----------
    calibration : folder of a campaign that was run, whose rates are taken
    given : rates that a person gives by name; they come before what was measured
    source : where the number of structures comes from, in words
    """
    # not the extensions: a plan is made where weights and programs need not be
    campaign = read_campaign(config, extensions=False)
    rates, results = assumed(campaign), Path("results")
    counted = below(results, "structures").is_file()
    if not counted:
        rates |= sampled_cells(campaign)
    found = survey_of(campaign) if structures is None else None
    if found is not None and found.accepted and not counted:
        source, structures = "structures.sources", len(found.accepted)
        rates["elements"] = Rate(len(found.elements), f"counted on the crystals of {source}")
    if calibration is not None:
        rates |= measured(calibration, campaign)
    if counted:
        own = measured_cells(results, campaign.explore)
        # other crystals than these may have other elements
        rates |= {name: rate for name, rate in own.items() if structures is None or name != "elements"}
    rates = assumed_costs(campaign, rates["atoms"].value) | rates
    rates |= {name: Rate(value, "given") for name, value in given.items() if value is not None}
    amounts = count(campaign, results, structures, rates, source)
    needs = plan(campaign, amounts, rates)
    tests = list(strain_lines(campaign, results))
    design = design_of(campaign, amounts.structures, results)
    if as_json:
        print_json(
            {
                "campaign": campaign.campaign.name,
                "amounts": asdict(amounts),
                "stages": [asdict(need) for need in needs],
                "rates": {name: asdict(rate) for name, rate in rates.items()},
                "strain_tests": [each._asdict() for each in tests],
                "comparison": design and asdict(design) | {"detectable_ratio": design.ratio},
            }
        )
        return
    console.print(render(campaign, amounts, needs, rates, machine))
    for test in tests:
        line = f"{test.text[0].upper()}{test.text[1:]}."
        warning = f" [yellow]Warning:[/yellow] `pesatlas run` refuses: {escape(test.remedy)}"
        console.print(f"{escape(line)}{'' if test.ok else warning}", soft_wrap=True)
    if design is not None:
        console.print(escape(design.sentence), soft_wrap=True)
    for sentence in misfits(campaign, found.accepted) if found is not None else ():
        console.print(f"[yellow]Warning:[/yellow] {escape(sentence)}", soft_wrap=True)
