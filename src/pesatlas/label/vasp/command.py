"""The program that starts VASP."""

import shlex
import shutil
from pathlib import Path

from pesatlas.errors import UserError


def program(command: str) -> str:
    """Return the path of the program that the command starts with.

    Raises
    ------
    UserError
        If it is not there, or would not be from another folder.
    """
    name = shlex.split(command)[0]
    if "/" in name and not Path(name).is_absolute():
        raise UserError(
            f"command: '{name}' is a relative path, and VASP runs in other folders. Give its absolute path."
        )
    path = shutil.which(name)
    if path is None:
        raise UserError(
            f"command: there is no program '{name}' here. Load its modules before `pesatlas run`, or give "
            "its path."
        )
    return path
