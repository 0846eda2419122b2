"""The command ``pesatlas``."""

from typing import Annotated

import typer

from pesatlas import __version__
from pesatlas.cli import (  # noqa: F401 - they register their commands
    campaign_commands,
    convergence,
    dataset_commands,
    report,
    tool_commands,
    validate,
)
from pesatlas.cli.app import app
from pesatlas.cli.examples import EXAMPLES

app.registered_commands.sort(key=lambda command: list(EXAMPLES).index(command.name or ""))


def _version(show: bool) -> None:
    if show:
        from pesatlas.config.plugins import GROUPS, plugins  # noqa: PLC0415 - starting is quick

        typer.echo(f"pesatlas {__version__}")
        for package in GROUPS:
            for each in plugins(package):
                typer.echo(f"  with {each}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Hold the options that come before a command."""


if __name__ == "__main__":
    app()
