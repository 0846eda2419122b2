"""TensorNet: Cartesian tensors as features (Simeon and de Fabritiis, arXiv 2306.06482)."""

from typing import Any, Literal

from pydantic import Field

from pesatlas.config.section import Section


class Options(Section):
    """TensorNet of matgl."""

    kind: Literal["tensornet"] = Field(
        "tensornet", description="equivariant, fast on GPUs; MatPES' has 128 units"
    )
    units: int = Field(64, ge=4, description="length of the features")
    blocks: int = Field(2, ge=1, description="number of interaction layers")
    radial_functions: int = Field(
        8, ge=1, description="use smooth spherical Bessel functions of the distance"
    )
    cutoff_A: float = Field(5.0, ge=2, le=12, description="cutoff radius of neighbours (Å)")


def build(options: Options, elements: tuple[str, ...]) -> Any:
    """Return the model with weights from torch's present random state."""
    from matgl.models import TensorNet  # noqa: PLC0415 - heavy

    return TensorNet(
        element_types=elements,
        units=options.units,
        nblocks=options.blocks,
        rbf_type="SphericalBessel",
        use_smooth=True,
        max_n=options.radial_functions,
        cutoff=options.cutoff_A,
        is_intensive=False,
    )
