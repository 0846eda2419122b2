"""Section ``compare``: its defaults, and what is trained for it when nobody says."""

import pytest

from pesatlas.config.campaign import Campaign
from pesatlas.config.short import chosen

TENSORNET = {"kind": "matgl", "name": "TensorNet-PES-MatPES-PBE-2025.2"}
VASP = {"levels": ["pbe"], "backend": {"kind": "vasp", "vasp_version": "6.4.3"}}
RAW = {
    "structures": {"sources": [{"kind": "demo"}]},
    "explore": {"potential": TENSORNET, "device": "cuda"},
    "label": VASP,
    "compare": {},
}


def test_a_policy_is_compared_with_the_published_recipe_and_random_frames_on_a_curve_of_costs():
    compare = Campaign.model_validate(RAW).compare
    assert [policy.kind for policy in compare.policies] == ["matpes", "mixed", "random"]
    assert len(compare.seeds) >= 5
    assert len(compare.cost_shares) >= 3
    assert max(compare.cost_shares) == 1


def test_without_a_section_train_the_exploring_potential_is_fine_tuned():
    campaign = Campaign.model_validate(RAW)
    assert campaign.train.base.name == TENSORNET["name"]
    assert (campaign.train.learning_rate, campaign.train.device) == (5e-4, "cuda")
    # as written out, or in short, it is the same campaign
    assert Campaign.model_validate(campaign.model_dump(mode="json")) == campaign
    assert Campaign.model_validate(chosen(campaign)) == campaign


def test_a_section_train_says_how_and_without_a_comparison_nothing_is_trained():
    campaign = Campaign.model_validate(RAW | {"train": {"epochs": 7}})
    assert (campaign.train.base, campaign.train.epochs, campaign.train.learning_rate) == (None, 7, 1e-3)
    assert Campaign.model_validate({**RAW, "compare": None}).train is None


@pytest.mark.parametrize(
    "changes",
    [
        {"explore": {"potential": {"kind": "chgnet"}}},
        {"label": {"levels": ["pbe"]}},  # GPAW's energies are of another kind
        {"label": VASP | {"levels": ["r2scan"]}},
        {"explore": {}},
        # whatever folder they lie in, these are not published weights
        {"explore": {"potential": {"kind": "matgl", "path": "matpes-pbe-r1/own"}}},
    ],
)
def test_what_cannot_be_fine_tuned_has_to_be_told_how_to_train(changes):
    with pytest.raises(ValueError, match=r"section train is missing.*TensorNet-PES-MatPES-PBE"):
        Campaign.model_validate(RAW | changes)
