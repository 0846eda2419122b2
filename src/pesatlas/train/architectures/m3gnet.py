"""M3GNet: messages with three-body terms (Chen and Ong, Nat. Comput. Sci. 2, 718 (2022))."""

from typing import Any, Literal

from pydantic import Field

from pesatlas.config.section import Section


class Options(Section):
    """M3GNet of matgl."""

    kind: Literal["m3gnet"] = Field("m3gnet", description="three-body terms; MatPES' has 128 units")
    units: int = Field(64, ge=4, description="length of hidden layers")
    features: int = Field(64, ge=4, description="length of the features of atoms and bonds")
    blocks: int = Field(3, ge=1, description="number of interaction layers")
    cutoff_A: float = Field(5.0, ge=2, le=12, description="cutoff radius of neighbours (Å)")
    threebody_cutoff_A: float = Field(4.0, ge=1, le=12, description="cutoff radius of three-body terms (Å)")


def build(options: Options, elements: tuple[str, ...]) -> Any:
    """Return the model with weights from torch's present random state."""
    from matgl.models import M3GNet  # noqa: PLC0415 - heavy

    return M3GNet(
        element_types=elements,
        units=options.units,
        dim_node_embedding=options.features,
        dim_edge_embedding=options.features,
        nblocks=options.blocks,
        use_smooth=True,
        cutoff=options.cutoff_A,
        threebody_cutoff=options.threebody_cutoff_A,
        is_intensive=False,
    )
