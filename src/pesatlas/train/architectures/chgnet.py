"""CHGNet: angles, and magnetic moments of sites (Deng et al., Nat. Mach. Intell. 5, 1031 (2023))."""

from typing import Any, Literal

from pydantic import Field

from pesatlas.config.section import Section


class Options(Section):
    """CHGNet of matgl."""

    kind: Literal["chgnet"] = Field(
        "chgnet",
        description="predicts magnetic moments too; use small batches, because matgl compares all pairs "
        "of short bonds of a batch",
    )
    features: int = Field(64, ge=4, description="length of the features of atoms, bonds and angles")
    blocks: int = Field(4, ge=2, description="number of interaction layers")
    cutoff_A: float = Field(6.0, ge=2, le=12, description="cutoff radius of neighbours (Å)")
    threebody_cutoff_A: float = Field(3.0, ge=1, le=12, description="cutoff radius of three-body terms (Å)")


def build(options: Options, elements: tuple[str, ...]) -> Any:
    """Return the model with weights from torch's present random state."""
    from matgl.models import CHGNet  # noqa: PLC0415 - heavy

    n = options.features
    return CHGNet(
        element_types=elements,
        dim_atom_embedding=n,
        dim_bond_embedding=n,
        dim_angle_embedding=n,
        atom_conv_hidden_dims=(n,),
        bond_conv_hidden_dims=(n,),
        final_hidden_dims=(n, n),
        num_blocks=options.blocks,
        cutoff=options.cutoff_A,
        threebody_cutoff=options.threebody_cutoff_A,
    )
