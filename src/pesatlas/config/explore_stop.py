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
        description="a trajectory ends when its last frames are nothing new to it, and goes on, up to "
        "`length_ps`, while they are",
    )
    encoder: Encoder = Field(  # type: ignore[valid-type]
        {"kind": "chgnet"},
        description="model whose features say what is new; give that of section encode, which then encodes "
        "nothing twice",
    )
    atoms: float = Field(
        0.05,
        gt=0,
        description="a frame is new if one of its atoms is further than this from all that were new before; "
        "weighted principal components, as `select.atoms.threshold`: half of it",
    )
    structures: float = Field(
        0.15,
        gt=0,
        description="the same for its structure: three tenths of `select.structure.threshold`",
    )
    patience: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="share of its time without a new frame after which a trajectory ends: 0.5 is its second "
        "half",
    )
    min_length_ps: float = Field(
        2.0, gt=0, description="no trajectory ends before this time (ps), counted from the end of its ramps"
    )


Stop = Annotated[Fixed | Saturated, Discriminator("kind")]
STOPS = ("fixed", "saturated")
"""Kinds of ``Stop``."""
