"""The demo campaign in a folder of its own."""

import os
from pathlib import Path

from rich.console import Console

from pesatlas.campaign.load import read_campaign
from pesatlas.cli.checkout import schema_for
from pesatlas.cli.run import run_campaign
from pesatlas.config.presets import preset
from pesatlas.config.render import render_yaml
from pesatlas.errors import UserError


def run_demo(folder: Path, console: Console) -> int:
    """Write the demo's config.yaml into ``folder`` and run it there; return the exit status.

    Raises
    ------
    UserError
        If ``folder`` holds another campaign.
    """
    made = preset("demo")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    if not config.exists():
        config.write_text(render_yaml(*made, schema=schema_for(folder)), encoding="utf-8")
    elif read_campaign(config, extensions=False) != made[0]:
        raise UserError(
            f"{config} is not the configuration of the demo. To run it, type `pesatlas run` in {folder}; to "
            "run the demo, name another folder."
        )
    os.chdir(folder)  # the store and everything else that a configuration names is as seen from there
    console.print(
        f"The demo runs in {Path.cwd()}: four small crystals, dynamics with chgnet, labels with GPAW at two "
        "levels, a dataset and a report; about five minutes on two cores. Ctrl-C stops it; the same command "
        "continues.",
        markup=False,
        highlight=False,
    )
    return run_campaign(Path(), "profiles/local", [], console)
