"""Crystals of CIFs: every block with atoms is an entry, and what a block says of itself is compared with what was read from it.

Positions come from the listed sites and the symmetry that the block gives: its operations, or else its symbol. A site that symmetry moves by
less than its coordinates are rounded is on a special position, and is put there. A block that contradicts itself (formula, formula units,
multiplicities, volume, symbol and operations) is a failure with both numbers in its detail.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pesatlas.elements import atomic_number
from pesatlas.structures import cif_sites, formula, symmetry
from pesatlas.structures.cif_sites import Site
from pesatlas.structures.cif_text import Block, blocks_of
from pesatlas.structures.crystal import Crystal, Read, make_crystal
from pesatlas.structures.symmetry import Operations, Setting
from pesatlas.structures.text_file import RefusedError, read_text, rejected, with_warnings
from pesatlas.tables.schemas import FailureReason

_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop_magn_operation_xyz",
)
_SYMBOLS = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_space_group_name_h-m",
)
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")
_NO_SYMMETRY = "no symmetry"
_GAP_A = 1.2
"""Added to covalent radii: of 2,900 crystals without large pores three have more room than spheres of this size."""
_TOO_NEAR_A = 0.6
"""A setting that puts atoms nearer to one another is not the one that was meant."""
_VOLUME_TOLERANCE = 0.02
_MASS_TOLERANCE = 0.01
_GRAMS_PER_CM3 = 1.66053906660
"""Of one atomic mass unit in one cubic ångström."""


@dataclass(frozen=True)
class Symmetry:
    """One way to read the symmetry of a block: its operations, and the words for them."""

    operations: Operations
    words: str


@dataclass
class _Expanded:
    """All atoms of a cell under one symmetry, and the doubts on the way."""

    counts: Counter[str]
    numbers: list[int]
    positions: np.ndarray
    notes: list[str] = field(default_factory=list)
    confirmed: bool = False
    """Whether formula and number of formula units are given and agree."""


def read_cif(path: Path, stem: str, source: str) -> Iterator[Read]:
    """Yield the crystals of a CIF, one for each block that has atoms or at least a cell.

    One alone has the name of the file, several those of their blocks behind it.
    """
    text, file_notes = read_text(path)
    if "\0" in text:
        yield rejected(stem, FailureReason.UNREADABLE, f"{source}: binary, no text")
        return
    blocks = list(blocks_of(text))
    entries = [block for block in blocks if block.has("_atom_site_") or block.value("_cell_length_a")]
    entries = [block for block in entries if _is_entry(block)]
    if not entries:
        detail = f"{source}: it holds no structure: {len(blocks)} data blocks, none with atoms"
        yield rejected(stem, FailureReason.UNREADABLE, detail)
        return
    for name, block in zip(_names(stem, entries), entries, strict=True):
        notes = list(file_notes)
        try:
            found = _read_block(block, name, source, notes)
        except RefusedError as why:
            found = rejected(name, why.reason, f"{source}: {why}")
        except Exception as error:  # noqa: BLE001 - whatever is odd in a block costs this block alone
            broken = "; ".join(block.problems)
            words = f"{broken or type(error).__name__}: {error}"
            found = rejected(name, FailureReason.UNREADABLE, f"{source}: {words}")
        yield with_warnings(found, notes, path.name)


def _is_entry(block: Block) -> bool:
    """Whether a block is meant to be a crystal: patterns and articles have neither atoms nor a cell, or only names of atoms."""
    sites = block.has("_atom_site_fract") or block.has("_atom_site_cartn") or block.has("_atom_site_label")
    return sites or block.value("_cell_length_a") is not None


def _names(stem: str, entries: list[Block]) -> list[str]:
    if len(entries) == 1:
        return [stem]
    own = Counter(block.name for block in entries)
    return [
        f"{stem}-{block.name}" if block.name and own[block.name] == 1 else f"{stem}-{i:05d}"
        for i, block in enumerate(entries)
    ]


def _read_block(block: Block, name: str, source: str, notes: list[str]) -> Read:
    if block.problems and not block.has("_atom_site_fract"):
        raise ValueError("what follows is lost")
    if block.has("_cell_modulation_dimension") or block.has("_space_group_ssg_"):
        raise RefusedError(
            FailureReason.NOT_PERIODIC, "a modulated structure: it repeats itself in no unit cell"
        )
    cell = _cell(block, notes)
    sites = cif_sites.sites_of(block, notes)
    if not sites:
        raise RefusedError(FailureReason.INCOMPLETE, "it has a cell and no atoms")
    stated = _stated_formula(block, notes)
    _check_disorder(sites)
    if stated is None:
        _check_labels(block, sites, notes)
    ways, problem, assumed = _ways(block, cell)
    if not ways:
        raise RefusedError(FailureReason.AMBIGUOUS_SETTING, problem)
    chosen = _choose(block, cell, sites, stated, ways)
    if problem and not chosen.confirmed:
        raise RefusedError(FailureReason.AMBIGUOUS_SETTING, problem)
    notes += block.problems
    if problem:
        notes.append(f"{problem}; formula and formula units agree with what was read")
    if assumed and not chosen.confirmed:
        notes.append(assumed)
    notes += chosen.notes
    return make_crystal(name, chosen.numbers, cell, chosen.positions @ cell, source)


def _choose(
    block: Block, cell: np.ndarray, sites: list[Site], stated: formula.Formula | None, ways: list[Symmetry]
) -> _Expanded:
    """Return the atoms under the one symmetry that agrees with what the block says.

    Raises
    ------
    RefusedError
        If none does, or several that give different crystals.
    """
    from pesatlas.structures.checks import closest_pair  # noqa: PLC0415 - reading a configuration imports this module, not vesin

    good: list[_Expanded] = []
    bad: list[RefusedError] = []
    for way in ways:
        try:
            expanded = _expand(sites, way, cell)
            _compare(block, cell, sites, expanded, stated, way)
        except RefusedError as why:
            bad.append(why)
        else:
            good.append(expanded)
    if not good:
        raise bad[0]
    if len(good) > 1:
        good = [e for e in good if closest_pair(_crystal(e, cell), _TOO_NEAR_A) is None] or good
    if not all(_same(good[0], other) for other in good[1:]):
        choices = " and ".join(way.words for way in ways)
        detail = f"no operations are listed, and {choices} give different crystals that both fit what the file says"
        raise RefusedError(FailureReason.AMBIGUOUS_SETTING, detail)
    return good[0]


def _cell(block: Block, notes: list[str]) -> np.ndarray:
    """Return the lattice vectors (rows, Å), oriented as pymatgen does it."""
    lengths = []
    for axis in "abc":
        text = block.value(f"_cell_length_{axis}")
        if text is None:
            raise ValueError(f"_cell_length_{axis} is missing")
        lengths.append(cif_sites.number(text))
    angles = []
    for axis in ("alpha", "beta", "gamma"):
        text = block.value(f"_cell_angle_{axis}")
        if text is None:
            notes.append(f"_cell_angle_{axis} is missing; 90 degrees, its default, is taken")
        angles.append(cif_sites.number(text or "90"))
    a, b, c = lengths
    alpha, beta, gamma = np.radians(angles)
    if min(lengths) <= 0 or not all(0 < angle < 180 for angle in angles):
        raise ValueError(f"a cell of lengths {lengths} and angles {angles}")
    cosine = (np.cos(alpha) * np.cos(beta) - np.cos(gamma)) / (np.sin(alpha) * np.sin(beta))
    if abs(cosine) >= 1:
        raise ValueError(f"angles {angles} span no volume")
    sine = math.sqrt(1 - cosine**2)
    cell = np.array(
        [
            [a * np.sin(beta), 0.0, a * np.cos(beta)],
            [-b * np.sin(alpha) * cosine, b * np.sin(alpha) * sine, b * np.cos(alpha)],
            [0.0, 0.0, c],
        ]
    )
    cell[np.abs(cell) < 1e-12 * max(lengths)] = 0.0
    text = block.value("_cell_volume")
    if text is not None:
        stated, volume = cif_sites.number_or_none(text), abs(float(np.linalg.det(cell)))
        if stated and abs(stated - volume) > _VOLUME_TOLERANCE * volume:
            detail = f"the file's cell has a volume of {stated:g} Å³ (_cell_volume), its lengths and angles give {volume:.2f} Å³"
            raise RefusedError(FailureReason.AMBIGUOUS_SETTING, detail)
    return cell


def _stated_formula(block: Block, notes: list[str]) -> formula.Formula | None:
    """Return what the block says it is made of, if that can be understood."""
    for tag in (
        "_chemical_formula_sum",
        "_chemical_formula_moiety",
        "_chemical_formula_structural",
        "_chemical_formula_iupac",
    ):
        text = block.value(tag)
        if text is None:
            continue
        found = formula.parse_formula(text)
        if found is not None:
            return found
        if tag == "_chemical_formula_sum":
            notes.append(f"its formula '{text}' could not be understood, and was not compared with its atoms")
    return None


def _check_disorder(sites: list[Site]) -> None:
    """Raise if places are shared or partly empty."""
    places = Counter(tuple(np.round(site.fractional % 1.0 % 1.0, 4)) for site in sites)
    odd = {tuple(np.round(s.fractional % 1.0 % 1.0, 4)) for s in sites if abs(s.occupancy - 1) > 1e-3}
    mixed = [s for s in sites if s.mixed]
    if odd or mixed:
        count = max(len(odd), len({tuple(s.fractional) for s in mixed}))
        detail = (
            f"{count} of {len(places)} sites are shared or partly empty; make an ordered model of it first"
        )
        raise RefusedError(FailureReason.DISORDERED, detail)


def _check_labels(block: Block, sites: list[Site], notes: list[str]) -> None:
    """Where no formula tells, look for what labels say beyond the elements; raise if hydrogens are only named."""
    bare = cif_sites.without_hydrogen(sites)
    if bare:
        detail = f"labels name hydrogen ({', '.join(bare[:3])}), and none has a position"
        if block.column("_atom_site_type_symbol") is None:
            raise RefusedError(FailureReason.INCOMPLETE, detail)
        notes.append(detail)
    notes += dict.fromkeys(site.hint for site in sites if site.hint)


def _ways(block: Block, cell: np.ndarray) -> tuple[list[Symmetry], str, str]:
    """Return the symmetries that the block may mean, what of it contradicts them, and what was assumed; the last two may be empty."""
    symbol, hall = block.value(*_SYMBOLS), block.value(*_HALL)
    number = _number(block.value(*_NUMBERS))
    named, explicit = symmetry.settings_of_symbol(symbol) if symbol else ([], False)
    if hall and symmetry.settings_of_hall(hall):
        of_hall = symmetry.settings_of_hall(hall)
        both = [setting for setting in named if setting in of_hall]
        if named and not both:
            problem = (
                f"the file's symbols are of different settings: Hermann-Mauguin '{symbol}', Hall '{hall}'"
            )
            named, explicit = (named, explicit) if explicit else (of_hall, True)
        else:
            problem, named, explicit = "", of_hall, True
    else:
        problem = ""
    if number and named and all(setting.number != number for setting in named):
        problem = f"the file's space group is number {number}, its symbol '{symbol or hall}' is number {named[0].number}"
    if number and not named:
        named = symmetry.settings_of_number(number)
    texts = cif_sites.operations_of(block, _OPERATIONS)
    if texts:
        return *_listed(tuple(texts), named, cell, explicit=explicit, problem=problem), ""
    if not named and (symbol or hall):
        return [], f"no operations are listed, and the symbol '{symbol or hall}' is not known", ""
    if not named and block.has("_space_group_magn"):
        return [], "no operations of its magnetic space group are listed", ""
    if not named:
        return [Symmetry(symmetry.P1, _NO_SYMMETRY)], problem, "the file gives no symmetry; read as P 1"
    fitting = [setting for setting in named if setting.operations().fits(cell)]
    if not fitting:
        return [], f"its cell does not have the symmetry {named[0]}: {_cell_words(cell)}", ""
    fitting = fitting if explicit else _usual(fitting)
    first = fitting[0]
    assumed = (
        f"no operations are listed; those of {first.symbol.replace('_', '')} are taken"
        if first.number > 1
        else ""
    )
    return [Symmetry(setting.operations(), str(setting)) for setting in fitting], problem, assumed


def _usual(settings: list[Setting]) -> list[Setting]:
    """Return those settings that a symbol alone means: the standard ones, then axis b, then c."""
    for choices in ({"", "1", "2", "H", "R"}, {"b"}, {"c"}):
        found = [
            s for s in settings if s.choice in choices or s.choice.lstrip("-")[:1] in choices & {"b", "c"}
        ]
        if found:
            return found
    return settings


def _listed(
    texts: tuple[str, ...], named: list[Setting], cell: np.ndarray, *, explicit: bool, problem: str
) -> tuple[list[Symmetry], str]:
    """Return the symmetry of operations that are listed, and whether symbol and number contradict them."""
    operations = symmetry.operations_of(texts)
    count = len(operations)
    if not operations.fits(cell):
        return [], f"its cell does not have the symmetry of its {count} operations: {_cell_words(cell)}"
    size = operations.closed_size
    if size != count:
        together = f"{size}" if size else "more and more"
        problem = (
            f"the file lists {count} symmetry operations that are no group: together they make {together}"
        )
    elif named and not problem and all(s.operations().key() != operations.key() for s in named):
        problem = _contradiction(operations, named, cell, explicit=explicit)
    return [Symmetry(operations, f"the {count} operations listed")], problem


def _contradiction(operations: Operations, named: list[Setting], cell: np.ndarray, *, explicit: bool) -> str:
    """Return how operations contradict the settings that are named; empty if they are another setting of the group, which has no name."""
    found = symmetry.number_of(operations, cell)
    if found not in {setting.number for setting in named}:
        return (
            f"the file's space group is {named[0].symbol.replace('_', '')} (number {named[0].number}), "
            f"its {len(operations)} operations are of {f'number {found}' if found else 'another one'}"
        )
    if explicit and named[0].choice in {"1", "2", "H", "R"}:
        return f"the file's setting is {named[0]}, its operations are of another one"
    return ""


def _cell_words(cell: np.ndarray) -> str:
    lengths = np.linalg.norm(cell, axis=1)
    cosines = [cell[i] @ cell[j] / lengths[i] / lengths[j] for i, j in ((1, 2), (0, 2), (0, 1))]
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    return (
        f"lengths {', '.join(f'{x:.4g}' for x in lengths)} Å, angles {', '.join(f'{x:.4g}' for x in angles)}"
    )


def _number(text: str | None) -> int | None:
    value = cif_sites.number_or_none(text) if text else None
    return int(value) if value and 1 <= value <= 230 and value == int(value) else None


def _expand(sites: list[Site], way: Symmetry, cell: np.ndarray) -> _Expanded:
    """Return all atoms of the cell."""
    counts: Counter[str] = Counter()
    numbers: list[int] = []
    placed = cif_sites.Placed(cell)
    twins: list[tuple[float, str]] = []
    moved: list[tuple[float, str]] = []
    for i, site in enumerate(sites):
        orbit = cif_sites.orbit_of(site, way.operations, cell)
        if orbit is None:
            detail = f"site {site.label} is neither on a special position nor off it under {way.words}"
            raise RefusedError(FailureReason.AMBIGUOUS_SETTING, detail)
        twin = placed.at(orbit.positions[0], orbit.tolerance)
        if twin is not None:
            other, distance = sites[twin[0]], twin[1]
            if other.symbol != site.symbol:
                detail = f"sites {other.label} and {site.label} are at the same place, each of them full"
                raise RefusedError(FailureReason.DISORDERED, detail)
            twins.append((distance, f"{other.label} and {site.label}"))
            continue
        if cif_sites.is_worth_a_note(site, orbit):
            moved.append((orbit.moved, site.label))
        site.multiplicity = len(orbit.positions)
        site.stabiliser = len(way.operations) / len(orbit.positions)
        counts[site.symbol] += len(orbit.positions)
        numbers += [atomic_number(site.symbol)] * len(orbit.positions)
        placed.add(orbit.positions, i)
    return _Expanded(counts, numbers, placed.positions(), _notes(twins, moved))


def _notes(twins: list[tuple[float, str]], moved: list[tuple[float, str]]) -> list[str]:
    """Return the words for sites that are listed twice, and for those that were moved (Å)."""
    notes = []
    if twins:
        names = f"{', '.join(name for _, name in twins[:2])}{f' and {len(twins) - 2} more' if len(twins) > 2 else ''}"
        far = max(distance for distance, _ in twins)
        why = "the same site, rounded" if far >= 5e-4 else "the same site, listed twice"
        notes.append(f"sites {names} are {far:.3f} Å apart: {why}; read once")
    if moved:
        names = f"{', '.join(name for _, name in moved[:3])}{f' and {len(moved) - 3} more' if len(moved) > 3 else ''}"
        far = max(distance for distance, _ in moved)
        notes.append(f"rounded coordinates: {names} moved by {far:.4f} Å on to the special position")
    return notes


def _compare(
    block: Block,
    cell: np.ndarray,
    sites: list[Site],
    expanded: _Expanded,
    stated: formula.Formula | None,
    way: Symmetry,
) -> None:
    """Raise if the atoms are not what the block says of itself."""
    counted = sum(site.hydrogens * site.multiplicity for site in sites)
    if stated is not None:
        units = formula.units_of(stated, expanded.counts)
        if units is None:
            detail = f"the file's formula is {formula.formula_text(stated.counts)}, its sites give {formula.formula_text(expanded.counts)}"
            hints = [site.hint for site in sites if site.hint and site.symbol not in stated.counts]
            hints += (
                [f"{counted:g} hydrogens are only counted (_atom_site_attached_hydrogens)"] if counted else []
            )
            raise RefusedError(_reason(stated, expanded, way), "; ".join([detail, *hints]))
        _compare_units(block, stated, expanded, units, way)
        if counted:
            expanded.notes.append(
                f"_atom_site_attached_hydrogens counts {counted:g} hydrogens more; the formula has no more"
            )
    elif counted:
        detail = f"{counted:g} hydrogens are only counted (_atom_site_attached_hydrogens), its sites give {formula.formula_text(expanded.counts)}"
        raise RefusedError(FailureReason.INCOMPLETE, detail)
    else:
        _check_room(cell, expanded, way)
    _compare_multiplicities(sites, way)
    _compare_mass(block, cell, sites, expanded)


def _reason(stated: formula.Formula, expanded: _Expanded, way: Symmetry) -> FailureReason:
    """Return the word for a formula that the atoms do not have."""
    listed = len(way.operations) == 1 and way.words != _NO_SYMMETRY
    if listed or set(stated.counts) != set(expanded.counts):
        return FailureReason.INCOMPLETE
    heavy = [symbol for symbol in stated.counts if symbol != "H"]
    ratios = {round(expanded.counts[symbol] / stated.counts[symbol], 3) for symbol in heavy}
    return (
        FailureReason.INCOMPLETE if len(ratios) == 1 and len(heavy) > 1 else FailureReason.AMBIGUOUS_SETTING
    )


def _compare_units(
    block: Block, stated: formula.Formula, expanded: _Expanded, units: float, way: Symmetry
) -> None:
    """Compare the number of formula units; formulas of a whole cell, as many programs write them, are known."""
    stated_units = cif_sites.number_or_none(block.value("_cell_formula_units_z") or "")
    words = formula.formula_text(expanded.counts)
    if stated_units and stated_units > 0:
        fits = abs(units - stated_units) < 0.02 * stated_units
        of_cell = (
            abs(units - 1) < 1e-6
            and stated_units <= sum(stated.counts.values())
            and stated.divisor() % stated_units == 0
        )
        if not (fits or of_cell):
            total = formula.formula_text(stated.counts)
            detail = f"the file's cell holds {stated_units:g} formula units {total} (_cell_formula_units_Z), its sites give {units:g} under {way.words}"
            raise RefusedError(FailureReason.AMBIGUOUS_SETTING, detail)
        expanded.confirmed = True
    elif units < 0.99:
        atoms, wanted = sum(expanded.counts.values()), sum(stated.counts.values())
        detail = f"the file's formula has {wanted:g} atoms, its sites give {atoms} in the cell ({words}) under {way.words}"
        raise RefusedError(FailureReason.AMBIGUOUS_SETTING, detail)


def _compare_multiplicities(sites: list[Site], way: Symmetry) -> None:
    """Compare multiplicities; older programs write the order of the site's symmetry under the same name."""
    stated = [site for site in sites if site.stated_multiplicity and site.multiplicity]
    wrong = [site for site in stated if site.stated_multiplicity != site.multiplicity]
    orders = all(site.stabiliser % site.stated_multiplicity == 0 for site in stated)
    if wrong and not orders:
        site = wrong[0]
        detail = f"the file's site {site.label} has a multiplicity of {site.stated_multiplicity:g}, it has {site.multiplicity} under {way.words}"
        raise RefusedError(FailureReason.AMBIGUOUS_SETTING, detail)


def _compare_mass(block: Block, cell: np.ndarray, sites: list[Site], expanded: _Expanded) -> None:
    """Compare calculated density and formula weight: a failure, or a note where formula and formula units agree."""
    from ase.data import atomic_masses  # noqa: PLC0415 - reading a configuration imports this module, not ase

    if any(site.isotope for site in sites):
        return
    mass = float(atomic_masses[expanded.numbers].sum())
    units = cif_sites.number_or_none(block.value("_cell_formula_units_z") or "")
    found = [
        (
            "density",
            "g/cm³",
            "_exptl_crystal_density_diffrn",
            _GRAMS_PER_CM3 * mass / abs(float(np.linalg.det(cell))),
        )
    ]
    if units:
        found.append(("formula weight", "u", "_chemical_formula_weight", mass / units))
    for what, unit, tag, value in found:
        text = block.value(tag) or ""
        stated = cif_sites.number_or_none(text)
        slack = _MASS_TOLERANCE * value + 10.0 ** -cif_sites.digits(text)
        # densities are in kg/m3 at times
        if not stated or stated <= 0 or min(abs(value - each) for each in (stated, stated / 1000)) <= slack:
            continue
        detail = f"the file's {what} is {stated:g} {unit} ({tag}), its sites give {value:.4g} {unit}"
        if not expanded.confirmed:
            raise RefusedError(FailureReason.INCOMPLETE, detail)
        expanded.notes.append(f"{detail}; formula and formula units agree with what was read")


def _check_room(cell: np.ndarray, expanded: _Expanded, way: Symmetry) -> None:
    """Where no formula tells: raise, or note, if the atoms have more room than those of any dense crystal; then some may be missing."""
    from ase.data import covalent_radii  # noqa: PLC0415 - as below

    count = len(expanded.numbers)
    most = float((4 / 3 * np.pi * (covalent_radii[expanded.numbers] + _GAP_A) ** 3).sum()) / count
    each = abs(float(np.linalg.det(cell))) / count
    if each <= most:
        return
    detail = f"its cell has {each:.1f} Å³ for each atom, dense crystals of these elements at most {most:.1f} Å³, and no formula tells whether atoms are missing"
    if way.words == _NO_SYMMETRY:
        raise RefusedError(FailureReason.AMBIGUOUS_SETTING, f"the file gives no symmetry; {detail}")
    expanded.notes.append(detail)


def _same(first: _Expanded, second: _Expanded) -> bool:
    """Whether two ways to read a block give the same atoms at the same places."""
    if first.counts != second.counts:
        return False
    left, right = (
        sorted(
            map(
                tuple,
                np.hstack([np.array(e.numbers)[:, None], np.round(e.positions % 1.0, 4) % 1.0]).tolist(),
            )
        )
        for e in (first, second)
    )
    return left == right


def _crystal(expanded: _Expanded, cell: np.ndarray) -> Crystal:
    return Crystal("", np.array(expanded.numbers), cell, expanded.positions @ cell, "")
