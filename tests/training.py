"""A campaign that trains small potentials on the dataset of ``labelled``."""

from pathlib import Path

from labelled_campaign import write_results
from pesatlas.config.campaign import Campaign
from pesatlas.config.presets import preset

SMALL = {
    "architecture": {"kind": "tensornet", "units": 8, "blocks": 1},
    "epochs": 3,
    "batch_size": 8,
    "seeds": [3],
}


def campaign_in(folder: Path, **train) -> Campaign:
    """A campaign whose store is in ``folder``; ``train`` changes its section."""
    raw = preset("demo")[0].model_dump(mode="json")
    raw["campaign"]["store"] = str(folder / "store")
    raw["train"] = {**SMALL, **train}
    return Campaign.model_validate(raw)


def train(folder: Path, *, seed=3, name=None, **changes) -> Path:
    """Train on ``folder``/results, which is made if it is not there; return the folder of the potential."""
    from pesatlas.train.training import train_potential

    results = folder / "results"
    if not results.exists():
        write_results(results)
    potential = results / "potentials" / (name or f"pbe-{seed}")
    campaign = campaign_in(folder, **changes)
    train_potential(
        campaign.train,
        campaign.train_level,
        seed,
        results=results,
        folder=potential,
        work=folder / "work",
        store=folder / "store",
    )
    return potential
