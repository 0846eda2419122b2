"""The benchmark of budgets spends what it says, where something is new."""

import numpy as np
import pytest
from adaptive_budget import LONGEST, RULES, Campaign, Crystal, Rule


@pytest.fixture(scope="module")
def campaign():
    rng = np.random.default_rng(3)
    crystals = {}
    for i, (speed, n_atoms) in enumerate([(0.0, 4), (0.0, 4), (0.02, 4), (0.0, 2), (0.02, 40), (0.0, 4)]):
        # what stands still is always the same; what moves goes ever further
        places = 100 * i + np.arange(2 * LONGEST) * speed
        atoms = np.repeat(places[:, None, None], n_atoms, 1) * np.ones(3) + 1e-3 * rng.random(3)
        atoms = atoms.astype(np.float32)
        crystals[f"c{i}"] = Crystal(10.0 * n_atoms, [atoms[:, 0], atoms[:, 0] + 1], [atoms, atoms + 1])
    return Campaign(crystals, (0, 1))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_budget_is_spent_and_no_more(campaign, rule):
    found = campaign.given(40, rule)
    budget, spent = campaign.work(campaign.same(40)), campaign.work(found)
    paid_twice = sum(
        campaign.crystals[name].cost * 20
        for (_, name), count in found.items()
        if count > 20 and rule.how == "anew"
    )
    dearest = max(each.cost for each in campaign.crystals.values())
    assert budget - dearest * 21 < spent + paid_twice <= budget
    assert campaign.given(40, rule) == found
    assert all(found[0, name] >= 20 for name in campaign.crystals)


def test_it_goes_to_what_moves_and_costs_little(campaign):
    longer = campaign.given(40, Rule("news for the work", 1, "longer"))
    assert longer[0, "c2"] == max(longer.values()) == 80
    for name in ("c0", "c1", "c5"):
        assert longer[0, name] < longer[0, "c2"]
    other = campaign.given(40, Rule("news for the work", 1, "other seed"))
    assert other[0, "c2"] == 20
    assert other[1, "c2"] == 60
