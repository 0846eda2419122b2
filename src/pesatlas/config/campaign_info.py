"""Section ``campaign``: name, seed and stores of a campaign."""

from pydantic import Field

from pesatlas.config.section import HomeText, Runtime, Section


class CampaignInfo(Section):
    """Name, seed and stores of the campaign."""

    name: str = Field(
        "campaign",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$",
        description="short name: letters, digits, - and _",
    )
    seed: int = Field(2026, ge=0, description="seed of all random numbers of the campaign")
    store: HomeText = Runtime(
        "store",
        description="folder of finished trajectories and labels, addressed by content; campaigns may share "
        "one",
    )
    read_stores: list[HomeText] = Runtime(
        [], description="other stores to read finished results from; nothing is written there"
    )
