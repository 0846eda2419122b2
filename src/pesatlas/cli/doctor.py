"""The command ``pesatlas doctor``."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pesatlas.cli.checkout import profile_folder
from pesatlas.monitor.doctor import doctor
from pesatlas.progress import Progress


def see_doctor(config: Path, profile: Path, console: Console) -> bool:
    """Print one line for each check of the campaign of this folder, as it is done; return whether all is well."""
    wrong = 0
    progress = Progress("checks")
    for check in doctor(config, profile_folder(profile)):
        progress.step()
        if check.ok:
            console.print(f"[green]ok[/green]     {escape(check.text)}", soft_wrap=True)
            continue
        wrong += 1
        console.print(f"[red]WRONG[/red]  {escape(check.text)}", soft_wrap=True)
        if check.remedy:
            console.print(f"       {escape(check.remedy)}", soft_wrap=True)
    console.print(f"[red]{wrong} wrong.[/red]" if wrong else "[green]Nothing stands in the way.[/green]")
    return wrong == 0
