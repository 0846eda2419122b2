"""The typer application, and how every command is registered, shown and fails."""

from collections.abc import Callable
from functools import wraps
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pesatlas.cli.error_messages import message_for_people
from pesatlas.cli.examples import epilog
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
config_app = typer.Typer(no_args_is_help=True, help="Write, check and describe configurations.")
app.add_typer(config_app, name="config")
store_app = typer.Typer(no_args_is_help=True, help="Maintain a store of finished results.")
app.add_typer(store_app, name="store")
_GROUPS = {"": app, "config": config_app, "store": store_app}
# what users named is shown as they did: `:x:` is no picture
console = Console(emoji=False)

Results = Annotated[Path, typer.Argument(help="Folder of results, with manifest.json.")]

Folder = Annotated[Path, typer.Argument(help="Folder of the campaign.")]

Config = Annotated[Path | None, typer.Option(help="Configuration file, if not config.yaml in that folder.")]


def command(name: str, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function the command ``name`` (two words: one of a group), with examples in its help.

    While it works, it shows how far it is; a ``UserError`` is shown as its message, with exit status 1.
    """
    group, _, word = name.rpartition(" ")

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                with console_progress(console):
                    return function(*args, **kwargs)
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
