"""The command that starts a program which calculates labels: its words, without a shell."""

import re
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
            f"command: '{name}' is a relative path, and calculations run in other folders. Give its "
            "absolute path."
        )
    path = shutil.which(name)
    if path is None:
        raise UserError(
            f"command: there is no program '{name}' here. Load its modules before `pesatlas run`, or give "
            "its path."
        )
    return path


def some_words(command: str, example: str) -> str:
    """Return the command of a configuration, which may not be empty.

    Raises
    ------
    ValueError
        If it is; for pydantic.
    """
    if not shlex.split(command):
        raise ValueError(f"no command; write the command that starts {example}")
    return command


def version_as_printed(version: str, pattern: str, example: str) -> str:
    """Return the version of a program in a configuration, which must be whole: it is part of the level.

    Raises
    ------
    ValueError
        If it is not; for pydantic.
    """
    if not re.fullmatch(pattern, version):
        raise ValueError(f"this is no whole version; write it as the program prints it, e.g. {example}")
    return version


def command_line(command: str, cores: int, cpus: tuple[int, ...]) -> list[str]:
    """Return the words of a command, without a shell.

    ``{cores}`` is how many cores, ``{cpus}`` which ones, with commas; a word with ``{cpus}`` is left out if
    none are assigned.
    """
    words = [word for word in shlex.split(command) if cpus or "{cpus}" not in word]
    listed = ",".join(map(str, cpus))
    return [word.replace("{cores}", str(cores)).replace("{cpus}", listed) for word in words]
