"""Section ``campaign``: name, seed and stores of a campaign."""

from pydantic import Field

from pesatlas.config.section import Runtime, Section


class CampaignInfo(Section):
    """Who this campaign is, and where it keeps what it never computes twice."""

    name: str = Field(
        "campaign",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$",
        description="short name: letters, digits, - and _",
    )
    seed: int = Field(2026, ge=0, description="every random number of the campaign follows from this one")
    store: str = Runtime(
        "store",
        description="folder of finished trajectories and labels, addressed by content; campaigns may share one",
    )
    read_stores: list[str] = Runtime(
        [], description="stores of others: what is finished there is taken, and nothing is written there"
    )
