"""The command ``pesatlas convergence``."""

from pathlib import Path
from typing import Annotated

import typer

from pesatlas.campaign.convergence import Limits
from pesatlas.cli.app import LOOK, AsJson, Config, Folder, command, console
from pesatlas.runtime.terminal import show_lines

_LIMITS = Limits()


@command("convergence", LOOK)
def convergence(
    folder: Folder = Path(),
    *,
    level: Annotated[str | None, typer.Option(help="Reference level; default: the campaign's first.")] = None,
    pick: Annotated[
        list[str] | None, typer.Option(help="snapshot_id of a pick to take; may be repeated.")
    ] = None,
    picks: Annotated[int, typer.Option(min=1, help="Number of picks to take, if none is named.")] = 4,
    of: Annotated[
        list[str] | None,
        typer.Option(help="Structures of these files instead of picks: as for select; may be repeated."),
    ] = None,
    cutoff: Annotated[
        list[float] | None,
        typer.Option(
            min=1, help="Cut-off in eV; may be repeated; default: 0.8, 1.25, 1.5 times the level's."
        ),
    ] = None,
    spacing: Annotated[
        list[float] | None,
        typer.Option(
            min=1e-3,
            help="k-point spacing in 1/Å, with 2π; may be repeated; default: one coarser, two finer meshes.",
        ),
    ] = None,
    energy_mev: Annotated[
        float, typer.Option(min=0, help="Largest change of the energy, meV/atom.")
    ] = _LIMITS.energy_meV_per_atom,
    force_mev: Annotated[
        float, typer.Option(min=0, help="Largest change of a force component, meV/Å.")
    ] = _LIMITS.force_meV_per_A,
    stress_gpa: Annotated[
        float, typer.Option(min=0, help="Largest change of a stress component, GPa.")
    ] = _LIMITS.stress_GPa,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only show the points and their cost.")
    ] = False,
    config: Config = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder for table and figure; default: results/ of the campaign.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure whether a reference level is converged in plane-wave cut-off and k-points.

    A few picks of the campaign, or structures of a file, are labelled at the level with other cut-offs, then
    with other k-points. A table and a figure show by how much energy, forces and stress change, and a
    sentence says whether the level is within the limits. Labels come from the backend of config.yaml and are
    kept in its store; a second run calculates only what is missing. Datasets do not change.
    """
    from pesatlas.cli.convergence_series import Request, show_convergence  # noqa: PLC0415 - starting is quick

    show_lines()
    show_convergence(
        folder,
        config,
        Request(level, pick or [], picks, of or [], cutoff or [], spacing or []),
        Limits(energy_mev, force_mev, stress_gpa),
        to=to,
        dry_run=dry_run,
        console=console,
        as_json=as_json,
    )
