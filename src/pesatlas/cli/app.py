"""The typer application, and how every command is registered, shown and fails."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from functools import wraps
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from pesatlas.campaign.layout import RESULTS, below
from pesatlas.cli.error_messages import message_for_people
from pesatlas.cli.examples import epilog
from pesatlas.errors import UserError
from pesatlas.runtime.terminal import console_progress

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Map the potential energy surface of materials: explore, select, label, deliver.\n\n"
    "A campaign is a [bold]config.yaml[/bold] in a folder. [bold]pesatlas run[/bold] runs or resumes it, "
    "[bold]pesatlas summary[/bold] shows its results, [bold]pesatlas verify[/bold] checks every file and "
    "row.",
)
START, RUN, LOOK, SHARE = "Start", "Run", "Look", "Share"
"""Groups of the help, in the order of a campaign."""
config_app = typer.Typer(no_args_is_help=True, help="Write, check and describe configurations.")
app.add_typer(config_app, name="config", rich_help_panel=START)
store_app = typer.Typer(no_args_is_help=True, help="Maintain a store of finished results.")
app.add_typer(store_app, name="store", rich_help_panel=RUN)
_GROUPS = {"": app, "config": config_app, "store": store_app}
# what users named is shown as they did: `:x:` is no picture
console = Console(emoji=False)


def results_in(folder: Path) -> Path:
    """Return the folder of results: that of the campaign in ``folder``, or ``folder`` itself."""
    folder = folder.expanduser()
    if any(below(folder, name).exists() for name in ("manifest", "structures")):
        return folder
    inside = folder / RESULTS
    return inside if inside.is_dir() or (folder / "config.yaml").exists() or folder == Path() else folder


Results = Annotated[
    Path,
    typer.Argument(callback=results_in, help="Folder of the campaign, of its results, or of a release."),
]

Folder = Annotated[Path, typer.Argument(help="Folder of the campaign.")]

Config = Annotated[Path | None, typer.Option(help="Configuration file, if not config.yaml in that folder.")]

AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON, for programs.")]


class _Command(TyperCommand):
    """A command whose options may be called by their former names, which is said once."""

    former: Mapping[str, str] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments, former names of options replaced."""
        present = []
        for argument in args:
            name, equals, value = argument.partition("=")
            if name in self.former:
                typer.echo(
                    f"pesatlas: {name} is called {self.former[name]} now; the former name still works",
                    err=True,
                )
            present.append(f"{self.former.get(name, name)}{equals}{value}")
        return super().parse_args(ctx, present)


def command(
    name: str, panel: str = LOOK, *, former: Mapping[str, str] | None = None, **settings: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function the command ``name`` (two words: one of a group), with examples in its help.

    While it works, it shows how far it is; a ``UserError`` is shown as its message, with exit status 1.
    ``~`` is expanded in everything that is given.

    Parameters
    ----------
    panel : group of the help that has it
    former : present names of options by their former ones
    """
    group, _, word = name.rpartition(" ")
    settings["cls"] = type("Command", (_Command,), {"former": former or {}})
    if not group:
        settings["rich_help_panel"] = panel

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                with console_progress(console):
                    return function(*args, **{key: _expanded(value) for key, value in kwargs.items()})
            except Exception as error:
                message = message_for_people(error)
                if message is None:
                    raise
                typer.echo(f"pesatlas: {message}", err=True)
                raise typer.Exit(1) from None

        paragraphs = cleandoc(function.__doc__ or "").split("\n\n")
        # lines as wide as the terminal, not as the source
        text = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
        return _GROUPS[group].command(word, help=text, epilog=epilog(name), **settings)(wrapped)

    return decorated


def _expanded(value: Any) -> Any:
    """Return what was given with ``~`` expanded: the shell leaves it in ``--to=~/x`` and ``'~/*.cif'``."""
    if isinstance(value, list):
        return [_expanded(each) for each in value]
    if isinstance(value, Path):
        return value.expanduser()
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~") else value  # noqa: PTH111


def print_json(value: Any) -> None:
    """Print a value for programs, nothing wrapped or coloured."""
    print(json.dumps(value, indent=1, default=str))  # noqa: T201


def seen_from(folder: Path, path: Path | None) -> Path | None:
    """Return a path as it is from ``folder``."""
    return path if path is None or folder.resolve() == Path.cwd() else path.absolute()


@contextmanager
def campaign_folder(folder: Path, config: Path | None) -> Iterator[Path]:
    """Work in the folder of a campaign, where paths of its configuration start; yield its configuration.

    Raises
    ------
    UserError
        If there is no such folder, or it has no configuration.
    """
    if not folder.is_dir() or not (config or folder == Path() or (folder / "config.yaml").exists()):
        raise UserError(
            f"no campaign in {folder.resolve()}: there is no config.yaml. Name the folder of a campaign, or "
            "its configuration with --config."
        )
    found = seen_from(folder, config) or Path("config.yaml")
    with chdir(folder):
        yield found
