"""The command ``pesatlas config new``."""

from pathlib import Path

from pesatlas.cli.checkout import schema_for
from pesatlas.cli.next_round import next_round
from pesatlas.config.presets import preset
from pesatlas.config.render import render_yaml
from pesatlas.config.short import chosen, short_head, short_yaml


def new_config(name: str, previous: Path | None, *, every: bool) -> str:
    """Return a configuration as YAML: of a preset, or of the round after the campaign in ``previous``.

    Parameters
    ----------
    every : write every key; otherwise those that are not their defaults

    Raises
    ------
    UserError
        If there is no such preset, or that campaign has no next round.
    """
    campaign, remarks, title = next_round(previous) if previous else preset(name)
    schema = schema_for(Path())
    if every:
        return render_yaml(campaign, remarks, title, schema=schema)
    return short_yaml(chosen(campaign), remarks, [*short_head(schema), *title.splitlines()])
