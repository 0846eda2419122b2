"""Section ``encode``: feature vectors of frames."""

from pydantic import Field

from pesatlas.config.plugins import options_of
from pesatlas.config.section import Runtime, Section

Encoder = options_of("pesatlas.encode.encoders")


class Encode(Section):
    """Which model describes structures and atoms, and where it runs."""

    encoder: Encoder = Field({"kind": "chgnet"}, description="model whose features describe frames")  # type: ignore[valid-type]
    device: str = Runtime(
        "cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="where the encoder runs: cpu, cuda, cuda:1"
    )
    atoms_per_evaluation: int = Runtime(
        400,
        ge=1,
        description="atoms that are encoded together: a few hundred suit the caches of a CPU, a GPU takes what its memory holds",
    )
