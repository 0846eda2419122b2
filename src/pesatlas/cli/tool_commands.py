"""Commands that need no campaign: selection, benchmarks, gaps; and configurations."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pesatlas.cli.app import (
    LOOK,
    SHARE,
    AsJson,
    Config,
    campaign_folder,
    command,
    console,
    print_json,
    results_in,
)
from pesatlas.runtime.terminal import show_lines


@command("select", SHARE, former={"--out": "--to"})
def select(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders and globs: extended XYZ, Parquet, ASE database, JSON, CIF, POSCAR."
        ),
    ],
    *,
    count: Annotated[int, typer.Option(min=1, help="Number of frames to pick.")],
    to: Annotated[
        Path, typer.Option(help="File to write: .extxyz, or .parquet for frames of Parquet files.")
    ],
    reference: Annotated[
        list[str] | None,
        typer.Option(help="Frames that are labelled already; picks are new compared with these."),
    ] = None,
    policy: Annotated[
        str, typer.Option(help="Selection policy: mixed, cover, facility, matpes, random or farthest.")
    ] = "mixed",
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder of M3GNet-Eform weights (MatPES' encoder), instead of chgnet."),
    ] = None,
    device: Annotated[str, typer.Option(help="Device of the encoder: cpu, cuda, cuda:1.")] = "cpu",
    min_distance: Annotated[
        float, typer.Option(min=0, help="Frames with two atoms closer than this (Å) are not picked.")
    ] = 0.7,
    seed: Annotated[int, typer.Option(min=0, help="Seed of random numbers.")] = 2026,
) -> None:
    """Thin a dataset: pick frames of rare environments and frequent frames in turns.

    No campaign is needed. Frames of extended XYZ and ASE databases keep their properties (energy, forces,
    ...); the best pick comes first. A table shows the distance of all frames to the picks, compared with the
    same number of random frames.
    """
    from pesatlas.cli.select import select_files  # noqa: PLC0415 - starting is quick

    show_lines()
    settings = {
        "count": count,
        "policy": policy,
        "encoder": {"kind": "m3gnet_eform", "path": str(weights)} if weights else {"kind": "chgnet"},
        "device": device,
        "min_distance_A": min_distance,
        "seed": seed,
    }
    select_files(files, reference or [], to, settings=settings, console=console)


@command("benchmark", LOOK, former={"--out": "--to"})
def benchmark(
    *,
    potential: Annotated[
        list[str],
        typer.Option(
            help="chgnet, matgl:FOLDER, or a YAML file of options as in explore.potential; may be repeated."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder of structures and references in matcalc's formats.")],
    to: Annotated[Path, typer.Option(help="Folder to write to; a second run with the same folder resumes.")],
    suite: Annotated[str, typer.Option(help="quick: minutes on a core; full: all structures.")] = "quick",
    prop: Annotated[
        list[str] | None,
        typer.Option("--property", help="Only this property, e.g. elasticity; may be repeated."),
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Table dataset of a campaign, for errors on its held-out frames.")
    ] = None,
    level: Annotated[str, typer.Option(help="Reference level of that table.")] = "pbe",
    corrected: Annotated[
        bool | None,
        typer.Option(
            help="Whether its energies include the Materials Project's corrections; default: as known "
            "for its kind."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Device: cpu, cuda, cuda:1.")] = "cpu",
    seed: Annotated[int, typer.Option(min=0, help="Seed of random numbers.")] = 2026,
    as_json: AsJson = False,
) -> None:
    """Benchmark potentials: relaxation, energies, moduli, heat capacity, stability of dynamics, speed.

    No campaign is needed. Each number has its interval, and beside it the published number of MatPES' models;
    two potentials are compared on their common structures. Results are cached in the folder, by structure.
    """
    from pesatlas.benchmark.structure_sets import Sources  # noqa: PLC0415 - starting is quick
    from pesatlas.cli.benchmark import benchmark_potentials  # noqa: PLC0415
    from pesatlas.errors import UserError  # noqa: PLC0415

    if suite not in {"quick", "full"}:
        raise UserError(f"--suite {suite}: there is no such suite. Choose quick or full.")
    show_lines()
    benchmark_potentials(
        potential,
        to,
        which=suite,
        only=prop or [],
        sources=Sources(data, dataset, level if dataset else None, seed=seed),
        corrected=corrected,
        device=device,
        console=console,
        as_json=as_json,
    )


@command("gaps", LOOK)
def gaps(
    dataset: Annotated[
        Path,
        typer.Argument(
            callback=results_in,
            help="Folder of the campaign, of its results, or of a release; or a file, folder or glob of "
            "frames, as for select.",
        ),
    ] = Path(),
    *,
    of: Annotated[
        list[str] | None,
        typer.Option(help="Structures to be calculated, or a config.yaml; may be repeated."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="File for the table: .parquet.")] = None,
    picture: Annotated[
        Path | None, typer.Option("--map", help="File for the map: .html (needs no network) or .png.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of M3GNet-Eform weights, instead of chgnet's encoder.")
    ] = None,
    device: Annotated[str, typer.Option(help="Device of the encoder: cpu, cuda, cuda:1.")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Show what a dataset does not cover: whether a potential trained on it can be trusted for your material.

    With [bold]--of[/bold], every structure gets a verdict: inside, at the edge, or outside of the dataset,
    element by element. Without it, covered and missing elements, pairs, domains and conditions are counted.
    """
    from pesatlas.cli.gaps import show_gaps  # noqa: PLC0415 - starting is quick

    show_lines()
    encoder = {"kind": "m3gnet_eform", "path": str(weights)} if weights else {"kind": "chgnet"}
    facts = show_gaps(
        dataset,
        of or [],
        settings={"encoder": encoder, "device": device},
        table=to,
        picture=picture,
        console=None if as_json else console,
    )
    if as_json:
        print_json(facts)


@command("config new")
def config_new(
    preset: Annotated[
        str, typer.Option(help="demo: minutes on a laptop; matpes: the published settings.")
    ] = "demo",
    previous: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a finished campaign: write the configuration of its next round instead of "
            "a preset."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Print every key with its meaning, unit and bounds.")
    ] = False,
    to: Annotated[Path | None, typer.Option(help="File to write to; it must not be there.")] = None,
) -> None:
    """Print a short configuration, for the config.yaml of a campaign; [bold]--all[/bold] prints every key.

    A key that is not in the file has its default. With [bold]--previous[/bold], run this in the folder of
    the next round: paths are relative to it.
    """
    from pesatlas.cli.new_config import new_config  # noqa: PLC0415

    _give(new_config(preset, previous, every=every), to)


@command("config check")
def config_check(
    path: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Folder of the campaign, or a configuration file.")
    ] = Path("config.yaml"),
    config: Config = None,
) -> None:
    """Check a configuration without running anything; every problem is named with its key and remedy."""
    from pesatlas.campaign.load import read_campaign  # noqa: PLC0415
    from pesatlas.errors import UserError  # noqa: PLC0415
    from pesatlas.monitor.doctor import warnings_of  # noqa: PLC0415
    from pesatlas.monitor.workers import workers_of  # noqa: PLC0415

    # paths of a configuration start in the folder of its campaign; a file alone is taken as of this one
    of_folder = (path / "config.yaml").is_file()
    if config is not None and path != Path("config.yaml") and not path.is_dir():
        raise UserError(f"--config {config} and {path}: give one configuration.")
    folder, file = (path, config) if of_folder or (config and path.is_dir()) else (Path(), config or path)
    with campaign_folder(folder, file) as found:
        campaign = read_campaign(found)
        for key, options in workers_of(campaign):
            console.print(escape(f"{key}: {options.python} will run {options.call}."), soft_wrap=True)
        for warning in warnings_of(campaign, Path("results")):
            console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", soft_wrap=True)
    checked = config or (path / "config.yaml" if of_folder else path)
    console.print(f"[green]{checked} is a valid campaign '{campaign.campaign.name}'.[/green]")


@command("config schema")
def config_schema(
    to: Annotated[Path | None, typer.Option(help="File to write to; it must not be there.")] = None,
) -> None:
    """Print the JSON Schema of the configuration, for completion in editors."""
    from pesatlas.config.render import render_schema  # noqa: PLC0415

    _give(render_schema(), to)


def _give(text: str, to: Path | None) -> None:
    """Print a text, or write it to a file that is not there yet."""
    from pesatlas.errors import UserError  # noqa: PLC0415
    from pesatlas.storage.atomic import write_text  # noqa: PLC0415

    if to is None:
        typer.echo(text, nl=False)
        return
    if to.exists():
        raise UserError(f"{to} exists already. Name another file with --to, or move it away.")
    write_text(to, text)
    console.print(f"[green]{escape(str(to))}[/green]", soft_wrap=True)
