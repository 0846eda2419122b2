"""The command ``pesatlas doctor``."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pesatlas.campaign.layout import RESULTS
from pesatlas.cli.app import print_json
from pesatlas.cli.checkout import profile_folder, snakefile_of
from pesatlas.monitor.check import Check
from pesatlas.monitor.doctor import doctor
from pesatlas.runtime.progress import Progress


def checks_of(config: Path, profile: Path) -> Iterable[Check]:
    """Yield the checks of the campaign of this folder, as they are done."""
    return doctor(config, profile_folder(profile), snakefile_of(Path()))


def reference_checks(config: Path) -> Iterable[Check]:
    """Label a few elements with the campaign's VASP, and yield how each compares with MatPES."""
    from pesatlas.monitor.reference_labels import reference_labels  # noqa: PLC0415 - pymatgen is slow to import

    return reference_labels(config, Path("work/doctor"))


def strain_of_levels(config: Path) -> Iterable[Check]:
    """Compare the stress of each level with the slope of its energy, and yield the results."""
    from pesatlas.monitor.strain import strain_checks  # noqa: PLC0415 - only here

    return strain_checks(config, Path(RESULTS), Path("work/doctor/strain"))


def checks_as_json(checks: Iterable[Check]) -> bool:
    """Print all checks for programs; return whether all is well."""
    found = list(checks)
    print_json([each._asdict() for each in found])
    return all(each.ok for each in found)


def show_checks(checks: Iterable[Check], console: Console) -> bool:
    """Print one line for each check, with the remedy of those that are wrong; return whether all is well."""
    wrong = 0
    progress = Progress("checks")
    for check in checks:
        progress.step()
        if check.ok and check.doubtful:
            console.print(f"[yellow]note[/yellow]   {escape(check.text)}", soft_wrap=True)
            continue
        if check.ok:
            console.print(f"[green]ok[/green]     {escape(check.text)}", soft_wrap=True)
            continue
        wrong += 1
        console.print(f"[red]WRONG[/red]  {escape(check.text)}", soft_wrap=True)
        if check.remedy:
            console.print(f"       {escape(check.remedy)}", soft_wrap=True)
    console.print(f"[red]{wrong} wrong.[/red]" if wrong else "[green]All requirements are met.[/green]")
    return wrong == 0
