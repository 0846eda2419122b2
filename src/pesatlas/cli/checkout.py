"""The workflow for campaigns in other folders: Snakefile, rules, scripts, profiles."""

from pathlib import Path

from pesatlas.config.render import SCHEMA_FILE
from pesatlas.errors import UserError

_INSTALLED = Path(__file__).parents[1] / "_workflow"
"""In a wheel the package carries it (setup.py)."""
CHECKOUT = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[3]
"""Folder of the workflow: in the installed package, or the checkout that was installed as editable."""
_SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")
"""Files that Snakemake looks for."""


def profile_folder(profile: Path) -> Path:
    """Return the folder of a profile: as it is named, or else below that of the workflow."""
    there = CHECKOUT / profile
    return there if there.is_dir() and not profile.is_dir() else profile


def profile_seen_from(folder: Path, profile: Path) -> Path:
    """Return a profile as it is named from the campaign in ``folder``: its own, or that of this folder."""
    own = (folder / profile).is_dir() or not profile.is_dir()
    return profile if own else profile.absolute()


def schema_for(folder: Path) -> str:
    """Return where an editor finds the JSON Schema of a config.yaml in ``folder``.

    Relative in the checkout, which may be moved.
    """
    schema = CHECKOUT / SCHEMA_FILE
    return SCHEMA_FILE if folder.resolve() == CHECKOUT.resolve() or not schema.is_file() else str(schema)


def snakefile_arguments(folder: Path, arguments: list[str]) -> list[str]:
    """Return what names the Snakefile to Snakemake, unless ``arguments`` name one or ``folder`` has its own.

    Raises
    ------
    UserError
        If there is none anywhere.
    """
    named = any(argument.startswith(("-s", "--snakefile")) for argument in arguments)
    if named or any((folder / name).is_file() for name in _SNAKEFILES):
        return []
    return ["--snakefile", str(snakefile_of(folder))]


def snakefile_of(folder: Path) -> Path:
    """Return the Snakefile of the campaign in ``folder``: its own, or else the checkout's.

    Raises
    ------
    UserError
        If there is none anywhere.
    """
    for name in _SNAKEFILES:
        if (folder / name).is_file():
            return folder / name
    if not (CHECKOUT / "Snakefile").is_file():
        raise UserError(
            f"there is no Snakefile here, and none in {CHECKOUT}: this installation of pesatlas is "
            "incomplete. Install it again, or name the Snakefile of a checkout: pesatlas run -s "
            "CHECKOUT/Snakefile --profile CHECKOUT/profiles/local."
        )
    return CHECKOUT / "Snakefile"
