"""The demo campaign in a folder of its own."""

import os
from pathlib import Path

from rich.console import Console

import pesatlas
from pesatlas.campaign.layout import path_of
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
    status = run_campaign(Path(), "profiles/local", [], console)
    if status == 0:
        atlas = pesatlas.open(Path("results"))
        first = atlas.query("SELECT min(snapshot_id) AS first FROM dataset")["first"][0]
        console.print(f"Results in {Path.cwd()}:", highlight=False, soft_wrap=True)
        for line in (
            f"{path_of('report')}: the report, in any browser",
            'pesatlas query "FROM dataset": every accepted label',
            f"pesatlas explain {first}: the history of one row",
        ):
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    return status
