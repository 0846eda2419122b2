"""The crystals of a campaign that has not begun, and warnings where settings do not fit them."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress

from pesatlas.campaign.rules import has_few_sources
from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.structures.crystal import Crystal
from pesatlas.structures.domains.bulk import Supercell, repetitions
from pesatlas.structures.survey import Survey, survey

_HALF = 2
_BAROSTAT_TIMES = 3
"""A cell at another temperature has its volume after about so many relaxation times of the barostat."""
_LEAST_EXPECTED = 1.0
_FEWEST_TO_SPLIT = 3
_ALL_ELEMENTS = frozenset(range(1, 119))


def survey_of(campaign: Campaign) -> Survey | None:
    """Return the crystals of the campaign's sources.

    None where reading them takes long, or cannot be done.
    """
    if not has_few_sources(campaign):
        return None
    # crystals are known, too, where pseudopotentials, which tell the elements of the labels, are not at hand
    for labelled in (None, _ALL_ELEMENTS):
        # what cannot be read is said by the check of what the configuration names
        with suppress(UserError, OSError):
            return survey(campaign.structures, campaign.explore, campaign.label.backend, labelled)
    return None


def misfits(campaign: Campaign, crystals: Sequence[Crystal]) -> Iterator[str]:
    """Yield a sentence on each setting that hardly fits these crystals."""
    count = len(crystals)
    if not count:
        return
    target = campaign.select.target
    if campaign.select.include_equilibrium and target < _HALF * count:
        share = min(1.0, count / target)
        yield (
            f"select.target: {share:.0%} of the {target} labels would be the {count} crystals at rest, "
            f"which show little of the surface. Make it {_HALF * count} at least, better {10 * count}, or "
            "set select.include_equilibrium: false."
        )
    yield from _budget(campaign, crystals)
    yield from _supercells(campaign, crystals)
    explore = campaign.explore
    shortest = _BAROSTAT_TIMES * explore.barostat_tau_fs / 1000
    if explore.length_ps < shortest:
        yield (
            f"explore.length_ps: {explore.length_ps:g} ps is not equilibrated: the barostat relaxes in "
            f"{explore.barostat_tau_fs / 1000:g} ps, so the first {shortest:g} ps are on the way. Make it "
            "longer, or explore.barostat_tau_fs shorter."
        )
    split = campaign.dataset.split
    if split.by == "structure" and count >= _FEWEST_TO_SPLIT:
        for name, share in (("valid", split.valid), ("test", split.test)):
            if 0 < share * count < _LEAST_EXPECTED:
                yield (
                    f"dataset.split.{name}: {share:g} of {count} crystals is less than one, so the split "
                    f"may be empty. Make it {min(0.4, 1 / count):.2g}, or 0."
                )


def _budget(campaign: Campaign, crystals: Sequence[Crystal]) -> Iterator[str]:
    budget = campaign.select.budget
    if budget is None:
        return
    costs = [budget.core_hours_of_64_atoms * (len(crystal.numbers) / 64) ** 3 for crystal in crystals]
    given = f"select.budget: {budget.core_hours:g} core hours"
    if budget.core_hours < min(costs):
        yield (
            f"{given} do not pay for one label: of the smallest crystal it takes about {min(costs):.2g}. "
            f"The {len(crystals)} crystals at rest take {sum(costs):.2g}; give several times as much."
        )
    elif campaign.select.include_equilibrium and budget.core_hours < _HALF * sum(costs):
        yield (
            f"{given} are little more than the {len(crystals)} crystals at rest take ({sum(costs):.2g}), "
            "which show little of the surface. Give several times as much, or set "
            "select.include_equilibrium: false."
        )


def _supercells(campaign: Campaign, crystals: Sequence[Crystal]) -> Iterator[str]:
    bulk = next((each for each in campaign.structures.domains if each.kind == "bulk"), None)
    if bulk is None or bulk.supercell is None:
        return
    rule = bulk.supercell
    without = [crystal.structure_id for crystal in crystals if _has_too_many_atoms(crystal, rule)]
    if without:
        named = ", ".join(without[:3]) + (" …" if len(without) > 3 else "")
        yield (
            f"structures.domains, supercell: {len(without)} of {len(crystals)} crystals ({named}) get no "
            f"supercell with max_atoms: {rule.max_atoms}, though they are narrower than "
            f"{rule.min_length_A:g} Å. Raise max_atoms, or accept that they move in their unit cell."
        )


def _has_too_many_atoms(crystal: Crystal, rule: Supercell) -> bool:
    """Return whether a crystal gets no supercell by the rule, but would without its limit of atoms."""
    free = rule.model_copy(update={"max_atoms": sys.maxsize})
    times = [repetitions(crystal.cell, len(crystal.numbers), each) for each in (rule, free)]
    return times[0] == (1, 1, 1) != times[1]
