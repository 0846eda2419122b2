"""Read a configuration and report all of its errors in one message."""

import difflib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pesatlas.atoms.elements import atomic_number
from pesatlas.campaign.rounds import references
from pesatlas.config import plugins
from pesatlas.config.campaign import Campaign
from pesatlas.config.explore_stop import STOPS, Saturated
from pesatlas.config.section import Section, former_name
from pesatlas.errors import UserError

log = logging.getLogger(__name__)

ONLY_LOOKING = "PESATLAS_ONLY_LOOKING"
"""Environment variable of a look at the jobs of a campaign: it needs nothing that calculates labels."""


def read_campaign(path: Path, *, extensions: bool = True, labels_here: bool = True) -> Campaign:
    """Read and check the YAML file ``path``.

    Without ``extensions``, named files and programs are not checked; without ``labels_here``, those are not
    that calculate labels, which a machine that only looks may not have.

    Raises
    ------
    UserError
        If it is missing, not YAML, or not a valid campaign.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder. Name the file, e.g. {path / 'config.yaml'}.")
    if not path.is_file():
        raise UserError(f"{path}: no such file. Write one with `pesatlas config new > {path}`.")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise UserError(
            f"{path} contains no configuration: expected sections such as 'structures:' and 'explore:'."
        )
    for section, name, former in _former_names(raw):
        log.warning(
            "%s: %s.%s is called %s.%s now; the former name still works", path, section, former, section, name
        )
    return load_campaign(raw, str(path), extensions=extensions, labels_here=labels_here)


def _former_names(raw: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield section, present and former name of every key that ``raw`` gives under its former name."""
    for section in raw:
        model = _model_at([section, ""])
        for name, field in model.model_fields.items() if model and isinstance(raw[section], dict) else ():
            former = former_name(field)
            if former is not None and former in raw[section]:
                yield section, name, former


def load_campaign(
    raw: Mapping[str, Any],
    where: str = "config.yaml",
    *,
    extensions: bool = True,
    labels_here: bool = True,
) -> Campaign:
    """Check a configuration that was read already; see ``read_campaign``.

    Raises
    ------
    UserError
        If anything is wrong: one message with a line for each problem: key, value, remedy.
    """
    try:
        campaign = Campaign.model_validate(dict(raw))
    except ValidationError as error:
        lines = [_explain(detail) for detail in error.errors()]
        raise UserError(
            f"{where}: {len(lines)} problem(s) in the configuration\n"
            + "\n".join(f"  - {line}" for line in lines)
        ) from None
    if extensions:
        _check_extensions(campaign, where, labels_here=labels_here)
    return campaign


def labels_lack(campaign: Campaign) -> str:
    """Return why labels cannot be calculated on this machine; empty if they can be."""
    return _problem_of("label.backend", campaign.label.backend)


def _problem_of(key: str, options: Any) -> str:
    """Return what an extension's own check finds wrong with its options; empty if it finds nothing."""
    check = getattr(plugins.find(plugins.EXTENSIONS[key], options.kind), "check", None)
    try:
        if check is not None:
            check(options)
    except UserError as error:
        return f"{key} ({options.kind}): {error}"
    return ""


def _check_extensions(campaign: Campaign, where: str, *, labels_here: bool) -> None:
    """Run the ``check`` of every extension on its options: missing files, absent programs."""
    stop = campaign.explore.stop
    used: list[tuple[str, list[Any]]] = [
        ("structures.sources", campaign.structures.sources),
        ("structures.domains", campaign.structures.domains),
        ("explore.potential", [campaign.explore.potential]),
        ("explore.stop.encoder", [stop.encoder] if isinstance(stop, Saturated) else []),
        ("encode.encoder", [campaign.encode.encoder]),
        ("select.policy", [campaign.select.policy]),
        *([("compare.policies", campaign.compare.policies)] if campaign.compare else []),
        ("label.backend", [campaign.label.backend] if labels_here else []),
        *([("train.architecture", [campaign.train.architecture])] if campaign.train else []),
        *([("train.base", [campaign.train.base])] if campaign.train and campaign.train.base else []),
        ("round.committee", campaign.round.committee if campaign.round else []),
    ]
    problems = _check_round(campaign)
    if campaign.benchmark is not None:
        used.append(
            ("benchmark.potentials.potential", [each.potential for each in campaign.benchmark.potentials])
        )
        problems += [f"  - benchmark.{problem}." for problem in campaign.benchmark.problems()]
    for key, many in used:
        problems += [f"  - {problem}" for options in many if (problem := _problem_of(key, options))]
    backend: Any = campaign.label.backend
    backend_module = plugins.find(plugins.EXTENSIONS["label.backend"], backend.kind)
    check_levels = getattr(backend_module, "check_levels", None)
    if check_levels is not None:
        try:
            check_levels(backend, campaign.label.levels)
        except UserError as error:
            problems.append(f"  - label.levels ({backend.kind}): {error}")
    retention_set = campaign.train.retention_set if campaign.train else None
    if retention_set is not None and not retention_set.exists():
        problems.append(
            f"  - train.retention_set = '{retention_set}': no such file or folder. Name a table dataset, or "
            "one that `pesatlas import` wrote."
        )
    problems += _check_elements(campaign) if not problems else []
    if problems:
        raise UserError(f"{where}: {len(problems)} problem(s) in the configuration\n" + "\n".join(problems))


def _check_round(campaign: Campaign) -> list[str]:
    """Return problems of the previous round, or of a policy without its committee."""
    if campaign.round is None:
        policy: Any = campaign.select.policy
        if policy.kind != "disagree":
            return []
        wrong = "only rounds after the first have a committee"
        return [
            (
                f"  - select.policy (disagree): {wrong}. Use cover, or add a section `round`, as `pesatlas "
                "config new --previous` does."
            )
        ]
    try:
        references(campaign)
    except UserError as error:
        return [f"  - round: {error}"]
    return []


def _check_elements(campaign: Campaign) -> list[str]:
    """Return problems of elements unknown to the potential or to the labelling code."""
    potential: Any = campaign.explore.potential
    backend: Any = campaign.label.backend
    known = {
        f"explore.potential ({potential.kind})": lambda: plugins.find(
            plugins.EXTENSIONS["explore.potential"], potential.kind
        ).elements(potential),
        f"label.backend ({backend.kind})": lambda: plugins.level_of(backend.kind).elements(backend),
    }
    if campaign.train is not None and campaign.train.base is not None:
        base: Any = campaign.train.base
        known["train.base"] = lambda: plugins.find(plugins.EXTENSIONS["train.base"], base.kind).elements(base)
    problems = []
    if _must_load_for_elements(getattr(backend, "potential", None)):
        del known[f"label.backend ({backend.kind})"]
    if _must_load_for_elements(potential):
        del known[f"explore.potential ({potential.kind})"]
    for who, elements in known.items() if campaign.structures.elements else ():
        try:
            numbers = elements()
        except UserError:
            # weights given by name are not there before their rule has fetched them: prepare_structures asks
            # again
            continue
        problems += [
            f"  - structures.elements: {who} does not know {symbol}. Remove it, or choose another."
            for symbol in campaign.structures.elements or []
            if atomic_number(symbol) not in numbers
        ]
    return problems


def _must_load_for_elements(potential: Any) -> bool:
    """Whether only the loaded potential knows its elements: prepare_structures asks it, no configuration."""
    kind = getattr(potential, "kind", None)
    if kind is None:
        return False
    ask = getattr(plugins.find(plugins.EXTENSIONS["explore.potential"], kind), "must_load_for_elements", None)
    return bool(ask and ask(potential))


def _explain(detail: ErrorDetails) -> str:
    """One line for one pydantic error: key, value, problem, remedy."""
    where = _path_in_file(detail["loc"])
    key = ".".join(str(part) for part in where)
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return f"{key}: unknown key. {_suggest(where, _options_at(detail['loc']) or _model_at(where))}"
    if kind == "missing":
        return f"{key}: missing. Add it{_meaning(where)}."
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        package = plugins.EXTENSIONS.get(".".join(str(part) for part in where if isinstance(part, str)), "")
        others = [f", '{name}'" for name in plugins.installed(package)] if package else []
        expected = detail.get("ctx", {}).get("expected_tags", "") + "".join(others)
        got = value.get("kind") if isinstance(value, dict) else value
        return f"{key}.kind = {got!r}: there is no such kind. Choose one of {expected}."
    if kind == "plugin":
        return f"{key}: {detail['msg']}"
    message = detail["msg"].removeprefix("Value error, ")
    about, _, rest = message.partition(": ")
    if rest and all(part.isidentifier() for part in about.split(".")):
        # a check of several values of a section, which names the one to mend
        return f"{'.'.join(filter(None, (key, about)))}: {rest}."
    shown = f" = {value!r}" if isinstance(value, str | int | float | bool | list) else ""
    return f"{key}{shown}: {message}{_meaning(where)}."


_KINDS = {"explore.stop": STOPS}
"""Kinds of sections that are chosen by ``kind``, and are no extensions."""


def _path_in_file(location: tuple[int | str, ...]) -> list[int | str]:
    """Return the keys as they are in the file: pydantic adds the kind of an extension, which is none."""
    where: list[int | str] = []
    for part in location:
        path = ".".join(str(p) for p in where if isinstance(p, str))
        package = plugins.EXTENSIONS.get(path)
        kinds = plugins.available(package) if package else _KINDS.get(path, ())
        if part not in kinds:
            where.append(part)
    return where


def _model_at(where: list[Any]) -> type[Section] | None:
    """Return the section class that holds the key ``where``; None inside a union of extensions."""
    model: Any = Campaign
    for part in where[:-1]:
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return None
        annotation = fields[part].annotation
        # a section that may be null
        optional = [each for each in get_args(annotation) if each is not type(None)]
        model = optional[0] if len(optional) == 1 else annotation
    return model if isinstance(model, type) and issubclass(model, Section) else None


def _meaning(where: list[Any]) -> str:
    model = _model_at(where)
    field = model.model_fields.get(str(where[-1])) if model else None
    return f" ({field.description})" if field is not None and field.description else ""


def _options_at(location: tuple[int | str, ...]) -> type[Section] | None:
    """Return the options of the extension that pydantic's ``location`` of a key is in, if it is in one."""
    *before, kind, _ = ("", *location)
    package = plugins.EXTENSIONS.get(".".join(part for part in before if isinstance(part, str) and part))
    if package is None or kind not in plugins.available(package):
        return None
    options: type[Section] = plugins.find(package, str(kind)).Options
    return options


def _suggest(where: list[Any], model: type[Section] | None) -> str:
    known = list(model.model_fields) if model else []
    close = difflib.get_close_matches(str(where[-1]), known, n=1)
    if close:
        return f"Did you mean '{close[0]}'?"
    return (
        f"Known keys here: {', '.join(known)}."
        if known
        else "Remove it, or see the comments in config.yaml for the keys of this kind."
    )
