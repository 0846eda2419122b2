"""Reading the profile of a campaign."""

from pathlib import Path
from typing import Any

import yaml


def read_profile(profile: Path) -> dict[str, Any]:
    """Return what a profile's config.yaml says; nothing if there is none that can be read."""
    try:
        values = yaml.safe_load((profile / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}
