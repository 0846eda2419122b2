"""The potentials of a campaign: those that it trains, and those that it benchmarks."""

from pathlib import Path
from typing import Any

from pesatlas.campaign.layout import path_of
from pesatlas.config import plugins
from pesatlas.config.campaign import Campaign


def trained_potentials(campaign: Campaign) -> dict[str, Path]:
    """Return the folder of every potential that is trained in this campaign, by its name."""
    level = campaign.train_level
    seeds = campaign.train.seeds if campaign.train else []
    return {
        f"{level}-{seed}": Path(path_of("potential_card", level=level, seed=seed)).parent for seed in seeds
    }


def benchmarked_potentials(campaign: Campaign) -> dict[str, tuple[Any, bool | None]]:
    """Return options of every benchmarked potential, and whether its energies are corrected."""
    if campaign.benchmark is None:
        return {}
    matgl = plugins.find("pesatlas.potentials.kinds", "matgl").Options
    return {
        "exploring": (campaign.explore.potential, None),
        **{name: (matgl(path=folder), None) for name, folder in trained_potentials(campaign).items()},
        **{each.name: (each.potential, each.corrected) for each in campaign.benchmark.potentials},
    }


def benchmark_shares(campaign: Campaign) -> list[tuple[str, str, str]]:
    """Return every benchmarked potential, property and share of structures."""
    if campaign.benchmark is None:
        return []
    return [
        (potential, kind, f"{i:05d}")
        for potential in benchmarked_potentials(campaign)
        for kind, options in campaign.benchmark.chosen().items()
        for i in range(campaign.benchmark.jobs(options))
    ]
