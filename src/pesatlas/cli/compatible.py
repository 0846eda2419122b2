"""`pesatlas compatible`: test whether labels belong to the level of MatPES, or of another set."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pesatlas.cli.app import print_json
from pesatlas.cli.label_sources import Label, labels_from
from pesatlas.dataset.same_geometry import GeometryIndex
from pesatlas.errors import UserError
from pesatlas.label.vasp.existing.settings_comparison import CODE, Difference, LevelSettings, squeeze
from pesatlas.levels.level import Level, difference
from pesatlas.levels.matpes_records import element_records, records_file
from pesatlas.levels.vasp import FUNCTIONALS

SAME_MEV = 1.0
"""Energies of the same geometry at the same level agree to this, meV per atom.

Machines and versions differ by less.
"""
_SHOWN = 5


@dataclass
class Comparand:
    """Reference of a comparison.

    Attributes
    ----------
    name : in words
    settings : of a level of VASP
    definition : of a level of another code
    energies : labels to compare by geometry
    """

    name: str
    settings: LevelSettings | None = None
    definition: dict[str, Any] | None = None
    energies: GeometryIndex = field(default_factory=GeometryIndex)


@dataclass
class Findings:
    """Result of a comparison.

    Attributes
    ----------
    agree, differ : labels whose settings are known
    same, apart, alone : labels whose settings are not known, by the energy of the same geometry in the other
        set; alone: it has none
    failed : runs without a label, by reason
    keys : how many labels differ in a key, with an example
    differences_meV : of energies, by label, meV per atom
    versions : of VASP, of labels that agree
    """

    agree: int = 0
    differ: int = 0
    same: int = 0
    apart: int = 0
    alone: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    keys: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], tuple[str, Difference]] = field(default_factory=dict)
    differences_meV: dict[str, float] = field(default_factory=dict)
    versions: Counter[str] = field(default_factory=Counter)

    @property
    def labels(self) -> int:
        """Number of labels."""
        return self.agree + self.differ + self.same + self.apart + self.alone

    @property
    def compatible(self) -> bool:
        """Whether nothing differs, and something was seen to agree."""
        return self.differ == self.apart == 0 and self.agree + self.same > 0


def show_compatible(
    source: str, level: str, other: str | None, console: Console, *, as_json: bool = False
) -> bool:
    """Compare every label of ``source`` with ``level`` of MatPES, or of ``other``.

    Show a table and a verdict, which is returned.

    Raises
    ------
    UserError
        If there are no labels, or nothing to compare with.
    """
    comparand = _comparand(level, other)
    found = compare(source, level, comparand)
    if not found.labels and not found.failed:
        raise UserError(f"{source} has no labels of level {level}.")
    if as_json:
        print_json(_facts(found, comparand))
    else:
        _show(found, comparand, console)
    return found.compatible


def compare(source: str, level: str, comparand: Comparand) -> Findings:
    """Return how the labels of ``source`` compare.

    By their settings where they are known, else by energies.
    """
    found = Findings()
    for label in labels_from(source, level):
        if label.failed is not None:
            found.failed[label.failed.reason.value] += 1
            continue
        differences = _differences(label, comparand)
        if differences is None:
            _by_energy(label, comparand, found)
            continue
        found.agree += not differences
        found.differ += bool(differences)
        if not differences and label.settings is not None and label.settings.version:
            found.versions[label.settings.version] += 1
        for each in {(each.kind, each.key): each for each in differences}.values():
            found.keys[each.kind, each.key] += 1
            found.examples.setdefault((each.kind, each.key), (label.name, each))
    return found


def _facts(found: Findings, comparand: Comparand) -> dict[str, Any]:
    """Return the outcome and its numbers, for programs."""
    return {
        "compatible": found.compatible,
        "verdict": verdict(found, comparand.name),
        "labels": found.labels,
        "by_settings": {"agree": found.agree, "differ": found.differ},
        "by_energies": {"agree": found.same, "differ": found.apart, "not decided": found.alone},
        "failed": dict(found.failed),
        "keys": [
            {
                "kind": kind,
                "key": key,
                "labels": count,
                "level": found.examples[kind, key][1].wanted,
                "found": found.examples[kind, key][1].found,
                "example": found.examples[kind, key][0],
            }
            for (kind, key), count in found.keys.most_common()
        ],
        "differences_meV_per_atom": found.differences_meV,
        "vasp_versions": dict(found.versions),
    }


def _comparand(level: str, other: str | None) -> Comparand:
    if other is None:
        return _matpes(level)
    comparand = Comparand(f"{other} ({level})")
    titles: dict[str, set[str]] = {}
    for label in labels_from(other, level):
        if label.failed is None:
            comparand.energies.add(label.name, label.numbers, label.cell, label.positions, label.energy_eV)
            _learn(comparand, label, level, titles)
    if not len(comparand.energies):
        raise UserError(f"--with {other}: it has no labels of level {level} to compare with.")
    if comparand.definition is not None and "vasp" in comparand.definition["code"]:
        # of elements that the campaign did not have, the POTCARs that pymatgen knows
        incar, version = comparand.definition["settings"]["incar"], comparand.definition["code"]["vasp"]
        comparand.settings = LevelSettings.of_input_set(level, incar, version)
        comparand.settings.titles |= titles
    return comparand


def _learn(comparand: Comparand, label: Label, level: str, titles: dict[str, set[str]]) -> None:
    """Take from a label of the other set what its level is."""
    comparand.definition = comparand.definition or label.definition
    if label.settings is None or label.settings.code != "vasp":
        return
    for title in label.settings.titles:
        titles.setdefault(title.split()[1].split("_")[0], set()).add(squeeze(title))
    if comparand.settings is None:
        comparand.settings = LevelSettings.of_run(level, label.settings, label.cell)
    else:
        comparand.settings.differences(label.settings, label.cell)  # takes POTCARs that it did not know


def _matpes(level: str) -> Comparand:
    """Return MatPES: its input set, and the published energies of the elements if matcalc is there."""
    if level not in FUNCTIONALS:
        raise UserError(
            f"--level {level}: MatPES has {' and '.join(FUNCTIONALS)}. Pass the labels to compare with by "
            "--with."
        )
    comparand = Comparand(f"MatPES ({level})", LevelSettings.matpes(level))
    if records_file(level) is not None:
        for element, record in element_records(level).items():
            comparand.energies.add(element, record.numbers, record.cell, record.positions, record.energy_eV)
            if record.atom is not None:
                box, source, energy = record.atom
                comparand.energies.add(f"{element} atom", record.numbers[:1], box, source[None], energy)
    return comparand


def _differences(label: Label, comparand: Comparand) -> list[Difference] | None:
    """Return the keys in which a label differs; None if that cannot be told from settings."""
    if comparand.settings is not None and label.settings is not None:
        return comparand.settings.differences(label.settings, label.cell)
    if comparand.definition is None:
        return None
    if label.definition is None:
        if label.settings is None:
            return None
        codes = " ".join(comparand.definition["code"])
        return [Difference(CODE, "code", codes, f"{label.settings.code} {label.settings.version}".strip())]
    keys = difference(Level(**comparand.definition), Level(**label.definition))
    return [Difference(CODE, key, _at(comparand.definition, key), _at(label.definition, key)) for key in keys]


def _at(definition: dict[str, Any], dotted: str) -> str:
    value: Any = definition
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return "not set" if value is None else str(value)


def _by_energy(label: Label, comparand: Comparand, found: Findings) -> None:
    known = comparand.energies.find(label.numbers, label.cell, label.positions)
    if known is None:
        found.alone += 1
        return
    apart = 1000 * (label.energy_eV - known.energy_eV) / len(label.numbers)
    found.differences_meV[label.name] = apart
    if abs(apart) <= SAME_MEV:
        found.same += 1
    else:
        found.apart += 1


def _show(found: Findings, comparand: Comparand, console: Console) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    rows = (
        (found.labels, "labels"),
        (found.agree, "have the settings of the level, key by key"),
        (found.differ, "have other settings"),
        (
            found.same,
            (f"contain no settings, and have the energy of the same geometry there ({SAME_MEV:g} meV/atom)"),
        ),
        (found.apart, "contain no settings, and have another energy for the same geometry"),
        (found.alone, "not decided: neither settings, nor the same geometry there"),
        *((count, f"runs without a label: {reason}") for reason, count in found.failed.most_common()),
    )
    for i, (count, text) in enumerate(rows):
        if count or i == 0:
            table.add_row(str(count), text)
    console.print(table)
    if found.keys:
        table = Table(box=None, pad_edge=False)
        for column in ("kind", "key", "labels", "level", "e.g."):
            table.add_column(column, overflow="fold")  # paths are never cut
        for (kind, key), count in sorted(found.keys.items(), key=lambda each: (-each[1], each[0])):
            name, example = found.examples[kind, key]
            table.add_row(kind, key, str(count), escape(example.wanted), escape(f"{example.found} in {name}"))
        console.print()
        console.print(table)
    if found.differences_meV:
        values = np.array(list(found.differences_meV.values()))
        console.print(
            f"\nenergies of {len(values)} geometries that both have: mean difference {values.mean():+.1f}, "
            f"largest {values[np.abs(values).argmax()]:+.1f} meV/atom"
        )
        worst = sorted(found.differences_meV.items(), key=lambda each: -abs(each[1]))[:_SHOWN]
        for name, value in worst if found.apart else []:
            console.print(f"  {escape(name)}  {value:+.1f} meV/atom")
    if len(found.versions) > 1:
        named = ", ".join(f"{version} ({count})" for version, count in found.versions.most_common())
        console.print(f"[yellow]Warning: several versions of VASP among them: {named}[/yellow]")
    console.print(
        f"\n[{'green' if found.compatible else 'red'}]{escape(verdict(found, comparand.name))}[/]",
        soft_wrap=True,
    )


def verdict(found: Findings, name: str) -> str:
    """Return the outcome in a sentence."""
    if found.compatible:
        how = [f"{found.agree} by their settings"] if found.agree else []
        how += [f"{found.same} by energies of the same geometry"] if found.same else []
        rest = f"; {found.alone} could not be decided" if found.alone else ""
        return f"Compatible with {name}: {' and '.join(how)}{rest}."
    if found.differ or found.apart:
        keys = list(dict.fromkeys(key for _, key in (each for each, _ in found.keys.most_common())))
        what = f"{found.differ} of {found.labels} labels differ in {_listed(keys)}" if found.differ else ""
        energies = f"{found.apart} of {found.labels} labels have other energies" if found.apart else ""
        return f"Not compatible with {name}: {' and '.join(filter(None, (what, energies)))}."
    if found.labels:
        return (
            f"Not shown to be compatible with {name}: the labels contain no settings, and no geometry is in "
            "both. Name a set with the same geometries by --with, or the folders of the runs themselves."
        )
    return f"Not shown to be compatible with {name}: no run has a label."


def _listed(keys: list[str]) -> str:
    shown = ", ".join(keys[:_SHOWN])
    return f"{shown} and {len(keys) - _SHOWN} more keys" if len(keys) > _SHOWN else shown
