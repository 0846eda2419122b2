"""Devices: whether one is available, and whether it works while the host goes on."""

from typing import TYPE_CHECKING

from pesatlas.errors import UserError

if TYPE_CHECKING:
    import torch


def runs_ahead(device: "torch.device") -> bool:
    """Whether ``device`` works while the host goes on, so that a look at a number waits for it.

    Where it does not, everything is checked at once, and computed as it always was, to the last bit.
    """
    return device.type != "cpu"


def check_device(device: str, where: str) -> None:
    """Check that torch can compute on ``device``; ``where`` is the setting, for the message.

    Raises
    ------
    UserError
        If there is no such GPU.
    """
    if device == "cpu":
        return
    import torch  # noqa: PLC0415 - heavy

    count = torch.cuda.device_count()
    if not count:
        raise UserError(
            f"{where}: {device}: torch finds no GPU on this machine. Set it to cpu, or run on a machine "
            "with a GPU. If this machine has one, check its driver, and that torch has CUDA (`nvidia-smi`, "
            "`pesatlas doctor`)."
        )
    number = int(device.partition(":")[2] or 0)
    if number >= count:
        raise UserError(f"{where}: {device}: there are {count} GPUs here, from cuda:0 to cuda:{count - 1}.")
