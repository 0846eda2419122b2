"""Detect tables made with different settings or from other inputs; no dataset is made of them."""

from collections.abc import Iterable
from pathlib import Path

from pesatlas.campaign.layout import RESULTS
from pesatlas.campaign.made_with import differences
from pesatlas.config.campaign import Campaign
from pesatlas.tables import read_entry


def made_otherwise(root: Path, names: Iterable[str], campaign: Campaign) -> list[str]:
    """Return tables ``names`` below ``root`` made with other settings, or from other inputs.

    Nothing is said of tables whose entries do not tell, as those of an older pesatlas.
    """
    entries = {name: read_entry(root / name) for name in names}
    found: dict[str, list[str]] = {}
    for name, entry in entries.items():
        why = differences(entry.made_with, campaign)
        for given, was in entry.made_of.items():
            other = entries.get(given.removeprefix(f"{RESULTS}/"))
            if other is not None and not other.sha256.startswith(was):
                why.append(f"{given} differs from the one that it was made from")
        if why:
            found.setdefault("; ".join(why), []).append(name)
    return [
        f"{root / names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {why}. `pesatlas run` "
        "makes it again."
        for why, names in found.items()
    ]
