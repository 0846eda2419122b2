"""Arguments of `pesatlas run`: the folder, what goes to Snakemake, and remedies for common mistakes.

Whatever is refused here is refused before anything starts.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from pesatlas.campaign.layout import PATHS
from pesatlas.cli.checkout import CHECKOUT, snakefile_arguments, snakefile_of
from pesatlas.cli.snakemake_options import find_options
from pesatlas.config.campaign import Campaign
from pesatlas.config.presets import PRESETS
from pesatlas.errors import UserError

CONFIG = ("--config", "-C")
CONFIG_FILES = ("--configfile", "--configfiles")
LAST_RULE = {
    "structures": "prepare_structures",
    "explore": "run_md",
    "encode": "encode_snapshots",
    "select": "pick_snapshots",
    "label": "label_batch",
    "dataset": "collect_dataset",
    "report": "build_report",
}
"""Stages, each with the rule that ends it."""
_HELP = {"-h", "--help", "--version", "-v"}
_DRY = {"-n", "--dry-run", "--dryrun"}
_YAML = {".yaml", ".yml"}
_CLUSTERS = {"--cluster", "--drmaa", "--slurm"}
_LISTS = "`pesatlas run -- --help` lists Snakemake's options, `pesatlas run --help` those of pesatlas"


@dataclass(frozen=True)
class RunArguments:
    """Arguments of a run.

    Attributes
    ----------
    folder : of the campaign
    snakemake : arguments for Snakemake
    """

    folder: Path
    snakemake: list[str]


def read_arguments(arguments: Sequence[str], commands: Sequence[str] = ()) -> RunArguments:
    """Return the folder of the campaign and the arguments for Snakemake.

    A folder among the arguments is the campaign's; ``--config FILE`` becomes Snakemake's ``--configfile``.

    Parameters
    ----------
    commands : names of the commands of pesatlas, one of which may be mistaken for an argument

    Raises
    ------
    UserError
        If Snakemake would refuse the arguments, or do something else than was meant.
    """
    if _HELP.intersection(arguments):
        return RunArguments(Path(), list(arguments))
    _check_names(arguments)
    ours = _is_ours(arguments)
    changed = _with_files(arguments, ours=ours)
    targets = _parse(changed)
    folders = [target for target in targets if Path(target).expanduser().is_dir()]
    if len(folders) > 1:
        raise UserError(f"{' '.join(folders)}: a run is of one campaign. Name one folder.")
    for target in targets:
        if ours and target not in folders:
            _check_target(target, commands)
    if not folders:
        return RunArguments(Path(), _seen_from(changed, Path()))
    changed.remove(folders[0])
    folder = Path(folders[0]).expanduser()
    if not find_options(changed, *CONFIG_FILES) and not (folder / "config.yaml").is_file():
        raise UserError(
            f"{folders[0]}: this folder has no config.yaml, so it is not the folder of a campaign. Name one "
            "that has it, or write one there: `pesatlas init CELLS...` or `pesatlas config new > "
            "config.yaml`."
        )
    return RunArguments(folder, _seen_from(changed, folder))


def _is_ours(arguments: Sequence[str]) -> bool:
    """Return whether the workflow is that of pesatlas: another one has rules and settings of its own."""
    if snakefile_arguments(Path(), list(arguments)):
        return True
    named = any(argument.startswith(("-s", "--snakefile")) for argument in arguments)
    return not named and snakefile_of(Path()).resolve().parent == CHECKOUT.resolve()


def _check_names(arguments: Sequence[str]) -> None:
    """Raise for options that do something else here than they seem to do."""
    names = [argument.partition("=")[0] for argument in arguments]
    if found := _CLUSTERS.intersection(names):
        raise UserError(
            f"{found.pop()}: how jobs are submitted is written in a profile. `pesatlas cluster` writes one "
            "for Slurm, and `pesatlas run --profile profiles/slurm` uses it."
        )
    if elsewhere := find_options(arguments, "--directory", "-d"):
        folder = " ".join(elsewhere[0].values) or "FOLDER"
        raise UserError(f"{names[elsewhere[0].at]}: name the folder alone: `pesatlas run {folder}`.")
    if {"--forceall", "-F"}.intersection(names) and not _DRY.intersection(names):
        raise UserError(
            "--forceall would write every table again, with the same content: finished trajectories and "
            "labels come from the store. After a change of config.yaml `pesatlas run` makes again what "
            "depends on it; `pesatlas run --forcerun RULE` repeats one rule; `pesatlas retry` requeues "
            "failed labels."
        )


def _with_files(arguments: Sequence[str], *, ours: bool) -> list[str]:
    """Return the arguments with ``--configfile FILE`` in place of ``--config FILE``.

    Parameters
    ----------
    ours : settings are of a campaign, and checked
    """
    changed = list(arguments)
    for option in reversed(find_options(arguments, *CONFIG)):
        if not option.values:
            raise UserError(f"{CONFIG[0]} needs a file: `pesatlas run --config other.yaml`.")
        first, *others = option.values
        if "=" not in first or Path(first).is_file():
            # what follows is a target: --configfile would take it for another file
            changed[option.indices.start : option.indices.stop] = [*others, CONFIG_FILES[0], first]
            continue
        for value in option.values if ours else ():
            _check_setting(value)
    for option in find_options(changed, *CONFIG_FILES):
        if not option.values:
            raise UserError(f"{CONFIG_FILES[0]} needs a file: `pesatlas run --config other.yaml`.")
        if not Path(option.values[0]).expanduser().is_file():
            raise UserError(f"{option.values[0]}: no such file. Correct the name of the configuration.")
    return changed


def _seen_from(arguments: Sequence[str], folder: Path) -> list[str]:
    """Return the arguments with names of configuration files as they are from ``folder``."""
    changed = list(arguments)
    here = folder.resolve() == Path.cwd()
    for option in reversed(find_options(changed, *CONFIG_FILES)):
        files = [Path(value).expanduser() for value in option.values]
        seen = [str(file if here or not file.is_file() else file.resolve()) for file in files]
        name = changed[option.at].partition("=")[0]
        changed[option.indices.start : option.indices.stop] = [name, *seen]
    return changed


def _check_setting(text: str) -> None:
    """Raise unless ``text`` is a section with a mapping, which Snakemake merges into the configuration."""
    key, _, value = text.partition("=")
    names = key.split(".")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        parsed = value
    if len(names) == 1 and names[0] in Campaign.model_fields and (parsed is None or isinstance(parsed, dict)):
        return
    written = value
    for name in reversed(names[1:]):
        written = f"{{{name}: {written}}}"
    near = difflib.get_close_matches(names[0], Campaign.model_fields, n=1)
    if names[0] in Campaign.model_fields:
        where = f"Write `{names[0]}: {written}` there, then `pesatlas run`."
    else:
        where = f"It has no section '{names[0]}'." + (f" Did you mean {near[0]}?" if near else "")
    raise UserError(
        f"--config {text}: settings are in config.yaml, so that the next run has them too. {where} Another "
        "file is named with `pesatlas run --config other.yaml`."
    )


def _parse(arguments: Sequence[str]) -> list[str]:
    """Return the targets among the arguments, with Snakemake's own parser.

    Raises
    ------
    UserError
        If it refuses them.
    """
    from snakemake.cli import get_argument_parser  # noqa: PLC0415 - it takes a second
    from snakemake.exceptions import CliException  # noqa: PLC0415

    def refuse(message: str) -> NoReturn:
        raise UserError(_explained(message, known))

    parser = get_argument_parser()
    known = [name for action in parser._actions for name in action.option_strings]  # noqa: SLF001 - not public
    parser.error = refuse
    try:
        found: Any = parser.parse_args(list(arguments))
    except CliException as error:
        raise UserError(_explained(str(error), known)) from None
    return [str(target) for target in found.targets]


def _number(name: str) -> str:
    what = "jobs at the same time" if name == "jobs" else "cores to use"
    return f"write the number of {what}, e.g. `pesatlas run --{name} 4`. Without it, the profile decides."


def _explained(message: str, known: Sequence[str]) -> str:
    """Return a complaint of Snakemake's parser with what to do."""
    for name in ("jobs", "cores"):
        if f"--{name}" in message:
            return f"--{name} needs a number: {_number(name)}"
    if "unrecognized arguments" in message:
        unknown = (
            message.rsplit("unrecognized arguments: ", maxsplit=1)[-1].split(maxsplit=1)[0].partition("=")[0]
        )
        near = difflib.get_close_matches(
            unknown, [*known, "--profile", "--take-over", "--config"], n=1, cutoff=0.7
        )
        hint = f"Did you mean {near[0]}? " if near else ""
        return f"{unknown}: there is no such option. {hint}{_LISTS}."
    return f"Snakemake does not accept these options: {message}. {_LISTS}."


def _check_target(target: str, commands: Sequence[str]) -> None:
    """Raise if ``target`` is neither a file to make nor a rule that can be one."""
    path = Path(target)
    if path.name == "config.yaml" and path.parent == Path():
        raise UserError("config.yaml is read without being named: `pesatlas run`.")
    if path.suffix in _YAML:
        there = "" if path.expanduser().is_file() else f"{target}: no such file. "
        raise UserError(f"{there}A configuration is named with --config: `pesatlas run --config {target}`.")
    if target in commands:
        raise UserError(f"{target} is a command of its own: `pesatlas {target}`.")
    if target in PRESETS:
        raise UserError(
            f"{target} is a preset: `pesatlas config new --preset {target} > config.yaml` in an empty "
            "folder, then `pesatlas run`."
        )
    rule = LAST_RULE.get(target, target)
    several = target in PATHS and all("{" in made for made in PATHS[target].values())
    if target in LAST_RULE or several:
        what = "is a stage" if target in LAST_RULE else "has several jobs"
        raise UserError(f"{target} {what}: `pesatlas run --until {rule}` runs to its end.")
    if target not in PATHS and target != "all" and "/" not in target and not path.suffix:
        near = difflib.get_close_matches(target, [*PATHS, *LAST_RULE, *commands], n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise UserError(
            f"{target}: there is no folder, rule or file of that name. {hint}`pesatlas run` alone runs the "
            "whole campaign, `pesatlas run FOLDER` that of another folder."
        )
