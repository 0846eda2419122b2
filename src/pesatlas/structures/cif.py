"""Crystals of CIFs: each block with atoms is an entry, and its stated formula and the like are checked.

Positions come from the listed sites and the symmetry that the block gives: its operations, or else its
symbol. A site that symmetry moves by less than its coordinates are rounded is on a special position, and is
put there. A block that contradicts itself (formula, formula units, multiplicities, volume, symbol and
operations) is a failure with both numbers in its detail.
"""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pesatlas.atoms.elements import atomic_number
from pesatlas.structures import cif_sites, formula, space_groups
from pesatlas.structures.cif_checks import NO_SYMMETRY, Expanded, Symmetry, compare
from pesatlas.structures.cif_sites import Site
from pesatlas.structures.cif_text import Block, blocks_of
from pesatlas.structures.crystal import Crystal, Read, make_crystal
from pesatlas.structures.space_groups import Operations, Setting
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
_TOO_NEAR_A = 0.6
"""A setting that puts atoms nearer to one another is not the one that was meant."""
_VOLUME_TOLERANCE = 0.02


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
    """Whether a block is meant to be a crystal.

    Patterns and articles have neither atoms nor a cell, or only names of atoms.
    """
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
        raise RefusedError(FailureReason.NOT_PERIODIC, "a modulated structure, which has no unit cell")
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
    unset = [site.label for site in sites if site.defaults]
    if unset and stated is None:
        notes.append(
            f"coordinates '.' of {', '.join(unset[:3])} are read as 0, the default of the CIF dictionary"
        )
    notes += chosen.notes
    return make_crystal(name, chosen.numbers, cell, chosen.positions @ cell, source)


def _choose(
    block: Block, cell: np.ndarray, sites: list[Site], stated: formula.Formula | None, ways: list[Symmetry]
) -> Expanded:
    """Return the atoms under the one symmetry that agrees with what the block says.

    Raises
    ------
    RefusedError
        If none does, or several that give different crystals.
    """
    from pesatlas.structures.checks import closest_pair  # noqa: PLC0415 - reading a configuration imports this module, not vesin

    good: list[Expanded] = []
    bad: list[RefusedError] = []
    for way in ways:
        try:
            expanded = _expand(sites, way, cell)
            compare(block, cell, sites, expanded, stated, way)
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
        detail = (
            f"no operations are listed, and {choices} give different crystals that both fit what the file "
            "says"
        )
        raise RefusedError(FailureReason.AMBIGUOUS_SETTING, detail)
    if len(ways) == 1 and good[0].least and not good[0].confirmed:
        _check_origin(block, cell, sites, good[0], stated, ways[0])
    return good[0]


def _check_origin(
    block: Block,
    cell: np.ndarray,
    sites: list[Site],
    dense: Expanded,
    stated: formula.Formula | None,
    way: Symmetry,
) -> None:
    """Raise if atoms that are too dense have ordinary room with the other origin of their space group."""
    for other in way.others:
        try:
            expanded = _expand(sites, other, cell)
            compare(block, cell, sites, expanded, stated, other)
        except RefusedError:
            continue
        if not expanded.least:
            counts = [formula.formula_text(dict(e.counts)) for e in (dense, expanded)]
            numbers = [len(e.numbers) for e in (dense, expanded)]
            volume = abs(float(np.linalg.det(cell)))
            detail = (
                f"{numbers[0]} atoms ({counts[0]}) under {way.words} have {volume / numbers[0]:.1f} Å³ each, "
                f"crystals of these elements at least {dense.least:.1f} Å³; under {other.words} they are "
                f"{numbers[1]}, with {volume / numbers[1]:.1f} Å³"
            )
            raise RefusedError(FailureReason.AMBIGUOUS_SETTING, detail)


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
            detail = (
                f"the file's cell has a volume of {stated:g} Å³ (_cell_volume), its lengths and angles give "
                f"{volume:.2f} Å³"
            )
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
    alternatives = _alternatives(sites)
    if alternatives:
        detail = (
            f"sites {alternatives} are alternatives (_atom_site_disorder_group), of which a crystal has "
            "one; make an ordered model of it first"
        )
        raise RefusedError(FailureReason.DISORDERED, detail)
    places = Counter(tuple(np.round(site.fractional % 1.0 % 1.0, 4)) for site in sites)
    odd = {tuple(np.round(s.fractional % 1.0 % 1.0, 4)) for s in sites if abs(s.occupancy - 1) > 1e-3}
    mixed = [s for s in sites if s.mixed]
    if odd or mixed:
        count = max(len(odd), len({tuple(s.fractional) for s in mixed}))
        detail = (
            f"{count} of {len(places)} sites are shared or partly empty; make an ordered model of it first"
        )
        raise RefusedError(FailureReason.DISORDERED, detail)


def _alternatives(sites: list[Site]) -> str:
    """Return labels of sites that are not there together, by their groups of disorder; empty if all are.

    Two groups of an assembly are alternatives; so are the images of a negative one, which lies about a
    special position. Where occupancies are given, they tell.
    """
    first: dict[str, Site] = {}
    for site in sites:
        if site.group in {"", "0"} or site.told_full:
            continue
        other = first.setdefault(site.assembly, site)
        if site.group.startswith("-"):
            return f"{site.label} and its images"
        if other.group != site.group:
            return f"{other.label} and {site.label}"
    return ""


def _check_labels(block: Block, sites: list[Site], notes: list[str]) -> None:
    """Check labels for more than elements where there is no formula.

    Raise if hydrogens are only named.
    """
    bare = cif_sites.without_hydrogen(sites)
    if bare:
        detail = f"labels name hydrogen ({', '.join(bare[:3])}), and none has a position"
        if block.column("_atom_site_type_symbol") is None:
            raise RefusedError(FailureReason.INCOMPLETE, detail)
        notes.append(detail)
    notes += dict.fromkeys(site.hint for site in sites if site.hint)


def _ways(block: Block, cell: np.ndarray) -> tuple[list[Symmetry], str, str]:
    """Return the symmetries that the block may mean, what of it contradicts them, and what was assumed.

    The last two may be empty.
    """
    symbol, hall = block.value(*_SYMBOLS), block.value(*_HALL)
    number = _number(block.value(*_NUMBERS))
    named, explicit = space_groups.settings_of_symbol(symbol) if symbol else ([], False)
    if hall and space_groups.settings_of_hall(hall):
        of_hall = space_groups.settings_of_hall(hall)
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
        problem = (
            f"the file's space group is number {number}, its symbol '{symbol or hall}' is number "
            f"{named[0].number}"
        )
    if number and not named:
        named = space_groups.settings_of_number(number)
    texts = cif_sites.operations_of(block, _OPERATIONS)
    if texts:
        return *_listed(tuple(texts), named, cell, explicit=explicit, problem=problem), ""
    if not named and (symbol or hall):
        return [], f"no operations are listed, and the symbol '{symbol or hall}' is not known", ""
    if not named and block.has("_space_group_magn"):
        return [], "no operations of its magnetic space group are listed", ""
    if not named:
        return [Symmetry(space_groups.P1, NO_SYMMETRY)], problem, "the file gives no symmetry; read as P 1"
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
    return [_way(setting, cell) for setting in fitting], problem, assumed


def _way(setting: Setting, cell: np.ndarray) -> Symmetry:
    """Return the symmetry of a setting, with that of the other origin."""
    settings = space_groups.settings_of_number(setting.number) if setting.choice in {"1", "2"} else []
    others = [each for each in settings if each.choice in {"1", "2"} and each != setting]
    return Symmetry(
        setting.operations(),
        str(setting),
        tuple(Symmetry(s.operations(), str(s)) for s in others if s.operations().fits(cell)),
    )


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
    operations = space_groups.operations_of(texts)
    count = len(operations)
    if not operations.fits(cell):
        return [], f"its cell does not have the symmetry of its {count} operations: {_cell_words(cell)}"
    size = operations.closed_size
    if not operations.has_identity():
        operations = operations.with_identity()
        problem = (
            f"the file lists {count} symmetry operations that do not form a group: the identity x,y,z is "
            "missing"
        )
        if size != len(operations):
            problem += f", and together they make {size or 'more and more'}"
    elif size != count:
        together = f"{size}" if size else "more and more"
        problem = (
            f"the file lists {count} symmetry operations that do not form a group: together they make "
            f"{together}"
        )
    elif named and not problem and all(s.operations().key() != operations.key() for s in named):
        problem = _contradiction(operations, named, cell, explicit=explicit)
    return [Symmetry(operations, f"the {count} operations listed")], problem


def _contradiction(operations: Operations, named: list[Setting], cell: np.ndarray, *, explicit: bool) -> str:
    """Return how operations contradict the settings that are named.

    Empty if they are another setting of the group, which has no name.
    """
    found = space_groups.number_of(operations, cell)
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


def _expand(sites: list[Site], way: Symmetry, cell: np.ndarray) -> Expanded:
    """Return all atoms of the cell."""
    counts: Counter[str] = Counter()
    numbers: list[int] = []
    placed = cif_sites.Placed(cell)
    twins: list[tuple[float, str]] = []
    moved: list[tuple[float, str]] = []
    listed: dict[int, list[np.ndarray]] = {}
    copies: list[str] = []
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
            if cif_sites.is_new(orbit, listed[twin[0]], cell):
                listed[twin[0]].append(orbit.positions[0])
                copies.append(f"{other.label} and {site.label}")
            continue
        listed[i] = [orbit.positions[0]]
        if cif_sites.is_worth_a_note(site, orbit):
            moved.append((orbit.moved, site.label))
        site.multiplicity = len(orbit.positions)
        site.stabiliser = len(way.operations) / len(orbit.positions)
        counts[site.symbol] += len(orbit.positions)
        numbers += [atomic_number(site.symbol)] * len(orbit.positions)
        placed.add(orbit.positions, i)
    in_list: Counter[str] = Counter()
    for i, places in listed.items():
        in_list[sites[i].symbol] += len(places)
    return Expanded(counts, numbers, placed.positions(), in_list, copies, _notes(twins, moved))


def _notes(twins: list[tuple[float, str]], moved: list[tuple[float, str]]) -> list[str]:
    """Return the words for sites that are listed twice, and for those that were moved (Å)."""
    notes = []
    if twins:
        more = f" and {len(twins) - 2} more" if len(twins) > 2 else ""
        names = ", ".join(name for _, name in twins[:2]) + more
        far = max(distance for distance, _ in twins)
        why = "the same site, rounded" if far >= 5e-4 else "the same site, listed twice"
        notes.append(f"sites {names} are {far:.3f} Å apart: {why}; read once")
    if moved:
        more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
        names = ", ".join(name for _, name in moved[:3]) + more
        far = max(distance for distance, _ in moved)
        notes.append(f"rounded coordinates: {names} moved by {far:.4f} Å on to the special position")
    return notes


def _same(first: Expanded, second: Expanded) -> bool:
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


def _crystal(expanded: Expanded, cell: np.ndarray) -> Crystal:
    return Crystal("", np.array(expanded.numbers), cell, expanded.positions @ cell, "")
