"""Section ``compare``: selection policies compared by potentials trained on their picks."""

from typing import Annotated

from pydantic import Field, field_validator

from pesatlas.config.section import Section
from pesatlas.config.select import Policy

Share = Annotated[float, Field(gt=0, le=1)]


class Compare(Section):
    """Policies compared at equal DFT cost: the picks of each are labelled and trained on.

    Errors are compared on unseen materials.
    """

    policies: list[Policy] = Field(
        [{"kind": "matpes"}, {"kind": "facility"}, {"kind": "random"}],
        min_length=2,
        description="policies to compare, written as select.policy (which is ignored); all others are "
        "compared with the first",
    )
    cost_shares: list[Share] = Field(
        [0.25, 0.5, 1.0],
        min_length=1,
        description="shares of the full cost that each arm may spend; the full cost (cubes of atom "
        "numbers, summed) is the largest that every policy can spend within select.target and "
        "select.budget; label efficiency is interpolated between shares",
    )
    seeds: list[int] = Field(
        [0, 1, 2, 3, 4],
        min_length=2,
        description="seeds: one potential each, in every arm at every share; as train.seeds",
    )
    test_frames: int = Field(
        400,
        ge=1,
        description="test frames, chosen at random from the dynamics of held-out materials "
        "(dataset.split.test); at most as many crystals in equilibrium are labelled in "
        "addition",
    )

    @field_validator("policies")
    @classmethod
    def _differ(cls, policies: list[Policy]) -> list[Policy]:
        names = [policy.kind for policy in policies]
        if len(set(names)) < len(names):
            raise ValueError(f"a policy is listed twice ({', '.join(names)}); list each once")
        return policies

    @field_validator("cost_shares", "seeds")
    @classmethod
    def _once_each(cls, values: list[float]) -> list[float]:
        if len(set(values)) < len(values) or min(values) < 0:
            raise ValueError("numbers must be different and not negative; list each once")
        return sorted(values)

    @property
    def runs(self) -> list[tuple[str, float, int]]:
        """Policy, share and seed of each potential that is trained."""
        return [
            (policy.kind, share, seed)
            for policy in self.policies
            for share in self.cost_shares
            for seed in self.seeds
        ]

    def most_labels(self, target: int) -> int:
        """Return how many structures are labelled at most, if each policy may pick ``target``."""
        return len(self.policies) * target + 2 * self.test_frames
