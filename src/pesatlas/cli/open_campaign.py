"""Open the campaign of a folder, for commands that inspect or repair it."""

from pathlib import Path

from pesatlas.campaign.load import read_campaign
from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError


def campaign_of(folder: Path, config: Path | None, *, extensions: bool = False) -> Campaign:
    """Read the configuration of the campaign in ``folder``: ``config``, or its ``config.yaml``.

    Raises
    ------
    UserError
        If there is none, or it is not valid.
    """
    path = config or folder / "config.yaml"
    if config is None and not path.exists():
        raise UserError(
            f"no campaign in {folder.resolve()}: there is no config.yaml. Run the command in the folder of "
            "the campaign, or name the file with --config."
        )
    return read_campaign(path, extensions=extensions)
