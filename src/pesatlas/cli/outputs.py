"""The command ``pesatlas outputs``."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pesatlas.cli.open_campaign import campaign_of
from pesatlas.label.archived_outputs import unpack_outputs


def show_outputs(name: str, folder: Path, config: Path | None, console: Console) -> None:
    """Unpack the archived inputs and outputs of one calculation of this campaign, and list the files."""
    campaign = campaign_of(Path(), config)
    for path in unpack_outputs(campaign.label, campaign.campaign, Path("results"), name, folder):
        console.print(f"{escape(str(path))}  [dim]{path.stat().st_size} bytes[/dim]")
