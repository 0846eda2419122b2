"""Workers of a campaign: what it runs in other environments."""

from pesatlas.config.campaign import Campaign
from pesatlas.potentials.external.options import WorkerOptions


def workers_of(campaign: Campaign) -> list[tuple[str, WorkerOptions]]:
    """Return the options of everything that runs in another environment, and the keys that configure it."""
    used = [
        ("explore.potential", campaign.explore.potential),
        ("encode.encoder", campaign.encode.encoder),
        ("label.backend.potential", getattr(campaign.label.backend, "potential", None)),
        *(("round.committee", each) for each in (campaign.round.committee if campaign.round else ())),
    ]
    if campaign.benchmark is not None:
        used += [("benchmark.potentials", each.potential) for each in campaign.benchmark.potentials]
    return [(key, options) for key, options in used if isinstance(options, WorkerOptions)]
