"""Settings that results were made with: stored beside every table, compared with later configurations.

Only those that decide results are kept, section by section as in ``config.yaml``, so that a difference can be
named by its key.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from pesatlas.campaign.named_potentials import benchmarked_potentials, trained_potentials
from pesatlas.config.campaign import Campaign
from pesatlas.config.section import Section, plain

_TRAINED = {"seeds", "level"}
_KEYS: dict[str, tuple[str, ...]] = {
    "prepare_structures": (
        "structures",
        "explore.potential",
        "explore.structures_per_job",
        "label.backend",
    ),
    "read_reference": ("select.reference",),
    "run_md": ("explore", "campaign.seed"),
    "encode_snapshots": ("encode",),
    "fit_pca": ("select.structure.components", "select.atoms.components"),
    "grid_structures": ("select.structure",),
    "cluster_structures": ("select.structure",),
    "grid_atoms": ("select.atoms",),
    "cluster_atoms": ("select.atoms",),
    "reduce_frames": ("select",),
    "pick_snapshots": ("select", "label.structures_per_job"),
    "pick_arms": ("select", "dataset.split", "campaign.seed", "label.structures_per_job"),
    "calibrate_disagreement": ("round",),
    "measure_disagreement": ("round",),
    "label_atoms": ("label.backend", "label.levels"),
    "label_batch": ("label",),
    "collect_dataset": ("dataset", "campaign.seed", "label.levels"),
    "train_potential": ("train",),
    "train_arm": ("train", "compare.cost_shares"),
    "compare_arms": ("compare",),
    "evaluate_potential": ("explore.potential", "campaign.seed"),
}
"""Settings that decide the results of each rule beside its inputs, as its ``params`` do in workflow/rules."""
_WITHOUT = {"dataset": {"exports", "card"}, "train": _TRAINED}
"""Keys of sections that do not decide what is in a table; such a section is kept key by key."""
SHOWN_ONLY = ("campaign.name", "dataset.card", "dataset.exports")
"""Settings that the dataset is shown with, and that decide none of its rows."""


def made_with(rule: str, campaign: Campaign, wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that a job of ``rule`` makes its results with, by their keys, as plain JSON."""
    keys = list(_KEYS.get(rule, ()))
    if rule == "run_benchmark":
        keys = [f"benchmark.properties.{wildcards['property']}"]
        # those that were trained here are inputs
        if wildcards["potential"] not in trained_potentials(campaign):
            keys += [
                f"benchmark.potentials.{wildcards['potential']}.{what}" for what in ("potential", "corrected")
            ]
    every = []
    for key in keys:
        section = getattr(campaign, key) if key in _WITHOUT else None
        every += (
            [f"{key}.{name}" for name in section.identity() if name not in _WITHOUT[key]]
            if section
            else [key]
        )
    return {key: plain(value) for key, value in _values(campaign, every)}


def deciding(campaign: Campaign) -> dict[str, Any]:
    """Return the settings of a campaign without those that its dataset is only shown with."""
    found = campaign.identity()
    for key in SHOWN_ONLY:
        section, name = key.split(".")
        found[section] = {each: value for each, value in found.get(section, {}).items() if each != name}
    return found


def differences(made: Mapping[str, Any], campaign: Campaign) -> list[str]:
    """Return the differences of the settings ``made`` of results to those of ``campaign``, a phrase each.

    What an older pesatlas had no setting for counts as its default. What it had other settings for is not
    compared.
    """
    found = []
    for key, was in made.items():
        (now,) = [value for _, value in _values(campaign, [key])] or [None]
        if getattr(campaign, key.partition(".")[0], None) is None or (
            now is None and not _there(campaign, key)
        ):
            continue  # e.g. of a potential that is not benchmarked any more
        found += [
            f"{where} was {_text(a)}, is {_text(b)}"
            for where, a, b in _unlike(_present(campaign, key), was, now)
        ]
    return found


def _values(campaign: Campaign, keys: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the value of each key; nothing for those that there are not."""
    for key in keys:
        section, _, name = key.partition(".")
        value = getattr(campaign, section, None)  # none of a damaged entry, or of another pesatlas
        if section == "benchmark":
            kind, _, which = name.partition(".")
            potential, _, what = which.rpartition(".")
            if value is not None and kind == "properties" and which in value.chosen():
                yield key, value.chosen()[which]
            elif kind == "potentials" and potential in benchmarked_potentials(campaign):
                options, corrected = benchmarked_potentials(campaign)[potential]
                yield key, options if what == "potential" else corrected
        else:
            for part in name.split(".") if name else []:
                value = getattr(value, _field(value, part), None)
            if value is not None or _there(campaign, key):
                yield key, value


def _there(campaign: Campaign, key: str) -> bool:
    """Return whether the configuration has such a key."""
    *parents, last = key.split(".")
    value: Any = campaign
    for part in parents:
        value = getattr(value, part, None)
    return value is not None and hasattr(value, _field(value, last))


def _field(section: Any, stored: str) -> str:
    """Return the present name of the field that results store as ``stored``."""
    return section.field_stored_as(stored) if isinstance(section, Section) else stored


def _present(campaign: Campaign, key: str) -> str:
    """Return the key of the configuration that results store as ``key``."""
    section, _, name = key.partition(".")
    return f"{section}.{_field(getattr(campaign, section), name)}" if name else key


def _unlike(key: str, was: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the keys below ``key`` whose values differ, with both."""
    known = True
    if isinstance(now, Section):
        try:
            was = type(now).model_validate(was).identity()
        except ValidationError:
            known = False
        now = now.identity()
    else:
        now = plain(now)
    yield from _unlike_json(key, was, now, known=known)


def _unlike_json(key: str, was: Any, now: Any, *, known: bool) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(was, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*was, *now]):
            if name in was and name in now:
                yield from _unlike_json(f"{key}.{name}", was[name], now[name], known=known)
            elif known:
                yield f"{key}.{name}", was.get(name), now.get(name)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for i, (a, b) in enumerate(zip(was, now, strict=True)):
            yield from _unlike_json(f"{key}.{i}", a, b, known=known)
    elif was != now:
        yield key, was, now


def _text(value: Any) -> str:
    if value is None:
        return "null"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
