"""Arrays that are used again, and activations in place, for models that run as plain products of matrices."""

import torch


class Buffers:
    """Uninitialised arrays by name, on a CPU in the same memory each time.

    Fresh memory of this size comes from the system page by page, which costs as much as what is done in it.
    Should an array be needed after it was overwritten, autograd notices and raises.
    """

    def __init__(self) -> None:
        self._memory: dict[str, torch.Tensor] = {}

    def get(self, name: str, like: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """Return an array (rows, columns) with the type and device of ``like``."""
        if like.device.type != "cpu":
            return like.new_empty(rows, columns)
        memory = self._memory.get(name)
        if memory is None or memory.numel() < rows * columns or memory.dtype != like.dtype:
            memory = self._memory[name] = like.new_empty(rows * columns)
        return memory[: rows * columns].view(rows, columns)


def silu_in_place(x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """Replace x by silu(x); put its derivative there, sigmoid + silu (1 - sigmoid), into ``slope``."""
    sigmoid = torch.sigmoid(x, out=slope)
    x *= sigmoid
    return sigmoid.addcmul_(x, sigmoid, value=-1).add_(x)
