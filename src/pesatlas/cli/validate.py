"""The command ``pesatlas validate``."""

from pathlib import Path
from typing import Annotated

import typer

from pesatlas.cli.app import LOOK, AsJson, Config, command, console
from pesatlas.runtime.terminal import show_lines


@command("validate", LOOK)
def validate(
    potential: Annotated[
        str, typer.Argument(help="chgnet, matgl:FOLDER, or a YAML file of options as in explore.potential.")
    ],
    frames: Annotated[
        list[str],
        typer.Argument(help="Frames of the run: files as for select, or .traj, XDATCAR, vasprun.xml."),
    ],
    *,
    level: Annotated[str, typer.Option(help="Reference level that the potential was trained at.")],
    budget: Annotated[str, typer.Option(help="Number of labels, e.g. 20, or core hours, e.g. 8h.")] = "20",
    config: Config = None,
    backend: Annotated[
        str | None, typer.Option(help="Backend with its defaults, e.g. gpaw, instead of a configuration.")
    ] = None,
    energy_mev: Annotated[float, typer.Option(min=0, help="Good enough: mean error, meV/atom.")] = 10.0,
    force_mev: Annotated[
        float, typer.Option(min=0, help="Good enough: mean error of force components, meV/Å.")
    ] = 100.0,
    stress_gpa: Annotated[
        float, typer.Option(min=0, help="Good enough: mean error of stress components, GPa.")
    ] = 1.0,
    slope: Annotated[
        float, typer.Option(min=0, help="Good enough: distance of the force slope from 1.")
    ] = 0.1,
    device: Annotated[str, typer.Option(help="Device of potential and encoder: cpu, cuda, cuda:1.")] = "cpu",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only show the chosen frames and their cost.")
    ] = False,
    to: Annotated[Path | None, typer.Option(help="Folder for the tables; default: results.")] = None,
    as_json: AsJson = False,
) -> None:
    """Answer with reference calculations whether a potential may be trusted for a simulation.

    Frames that cover the run are chosen by DIRECT and labelled at the level by the backend of config.yaml, or
    of [bold]--backend[/bold]. Errors of energies, forces and stress and the slope of forces are shown with
    intervals, in total, by element and by condition. Labels are kept in the store of the campaign; a second
    run calculates only what is missing. Datasets do not change.
    """
    from pesatlas.benchmark.validation import Tolerances  # noqa: PLC0415 - starting is quick
    from pesatlas.cli.validation import show_validation  # noqa: PLC0415
    from pesatlas.cli.validation_plan import Request  # noqa: PLC0415

    show_lines()
    show_validation(
        Request(potential, frames, level, budget, config, backend, device),
        Tolerances(energy_mev, force_mev, stress_gpa, slope),
        to=to,
        dry_run=dry_run,
        console=console,
        as_json=as_json,
    )
