"""Section ``encode``: feature vectors of frames."""

from pydantic import Field

from pesatlas.config.plugins import options_of
from pesatlas.config.section import Runtime, Section

Encoder = options_of("pesatlas.encode.encoders")


class Encode(Section):
    """Encoder of structures and atoms."""

    encoder: Encoder = Field({"kind": "chgnet"}, description="model that gives the feature vectors of frames")  # type: ignore[valid-type]
    device: str = Runtime(
        "cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="device of the encoder: cpu, cuda, cuda:1"
    )
    atoms_per_evaluation: int = Runtime(
        400,
        ge=1,
        description="atoms per batch: a few hundred fit the caches of a CPU; on a GPU its memory is the "
        "limit",
    )
