"""Filling the caches of sources that need a network, so that nothing later does."""

from pathlib import Path

from pesatlas import registry
from pesatlas.config.campaign import Campaign
from pesatlas.tables.atomic import write_text


def fetch_structures(campaign: Campaign, done: Path) -> None:
    """Let every source that has a ``fetch`` fill its cache, and list the caches in the file ``done``.

    Raises
    ------
    UserError
        If a source cannot be fetched; the message says what to do.
    """
    caches = []
    for options in campaign.structures.sources:
        fetch = getattr(registry.find("pesatlas.structures.sources", options.kind), "fetch", None)
        if fetch is not None:
            fetch(options)
            caches.append(options.cache)
    write_text(done, "".join(f"{cache}\n" for cache in caches))
