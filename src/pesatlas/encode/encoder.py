"""The interface of an encoder, by the name under which extensions import it."""

from pesatlas.potentials.encoder import Encoder, Frame

__all__ = ["Encoder", "Frame"]
