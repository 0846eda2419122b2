"""Campaigns in folders of their own take the workflow and the profiles from the checkout that pesatlas was installed from."""

from pathlib import Path

from pesatlas.errors import UserError

CHECKOUT = Path(__file__).parents[3]
_SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")
"""Where Snakemake looks for one."""


def profile_folder(profile: Path) -> Path:
    """Return the folder of a profile: as it is named, or else below the checkout."""
    there = CHECKOUT / profile
    return there if there.is_dir() and not profile.is_dir() else profile


def snakefile_arguments(folder: Path, arguments: list[str]) -> list[str]:
    """Return what names the checkout's Snakefile to Snakemake, unless ``arguments`` name one or ``folder`` has its own.

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
            "there is no Snakefile here, and pesatlas was not installed from a checkout that has one. Start in a checkout, or name its "
            "Snakefile: pesatlas run -s CHECKOUT/Snakefile --profile CHECKOUT/profiles/local."
        )
    return CHECKOUT / "Snakefile"
