"""Warnings shown with every dataset: demo-quality DFT, or labels from an ML potential."""

from typing import Any

from pesatlas.config.label import MLIP

POTENTIAL = "machine-learning potential"
"""Under which the level of a potential's labels has its name, among its codes."""

GAIN_FROM_PICKS = 500
"""Picks from which the gain of a thousand more labels is told: of fewer, it is an extrapolation."""


def caveats(manifest: dict[str, Any]) -> list[str]:
    """Return warnings on the labels of the campaign of this manifest.

    Empty if they are what they seem.
    """
    found = []
    backend = manifest.get("configuration", {}).get("label", {}).get("backend", {})
    quality = backend.get("quality")
    if quality in {"coarse", "demo"}:
        found.append(f"{quality} quality: too coarse to train on")
    if MLIP in manifest["levels"]:
        name = labelling_potential(manifest)
        found.append(f"labels of a machine-learning potential{name and f' ({name})'}, NOT DFT")
    return found


def labelling_potential(manifest: dict[str, Any]) -> str:
    """Return the name of the potential that made the labels; empty if none did, or it is not on record."""
    definition = manifest.get("surfaces", {}).get(MLIP, {}).get("definition") or {}
    return str(definition.get("code", {}).get(POTENTIAL, ""))
