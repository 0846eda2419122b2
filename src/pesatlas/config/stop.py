"""Section ``explore.stop``: the end of a trajectory."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field

from pesatlas.config.plugins import options_of
from pesatlas.config.section import Section

Encoder = options_of("pesatlas.encode.encoders")


class Fixed(Section):
    """Every trajectory has its length."""

    kind: Literal["fixed"] = Field("fixed", description="every trajectory is `length_ps` long")


class Saturated(Section):
    """A trajectory ends when its own last frames show nothing new; its length is the most that it gets."""

    kind: Literal["saturated"] = Field(
        "saturated",
        description="a trajectory ends when its last frames have no atom that is new to it, and goes on, up "
        "to `length_ps`, while they do",
    )
    encoder: Encoder = Field(  # type: ignore[valid-type]
        {"kind": "chgnet"},
        description="model whose features say what is new; give that of section encode, which then encodes "
        "nothing twice",
    )
    threshold: float = Field(
        0.05,
        gt=0,
        description="an atom is new if no atom of an earlier frame is nearer than this; in weighted "
        "principal components, as `select.atoms.threshold`: half of it or less",
    )
    patience_ps: float = Field(
        1.0, gt=0, description="time (ps) without a new atom after which a trajectory ends: some frames"
    )
    min_length_ps: float = Field(
        2.0, gt=0, description="no trajectory ends before this time (ps), counted from the end of its ramps"
    )


Stop = Annotated[Fixed | Saturated, Discriminator("kind")]
STOPS = ("fixed", "saturated")
"""Kinds of ``Stop``."""
