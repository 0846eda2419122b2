"""Settings of a run compared with a level, key by key; keys without influence on results are left out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from pesatlas.label.vasp.corrections import HARMLESS
from pesatlas.label.vasp.existing.settings import RunSettings
from pesatlas.levels import potcars
from pesatlas.levels.vasp import FUNCTIONALS, Functional

U, SMEARING, K_SPACING, POTCAR, FUNCTIONAL, INCAR, CODE = (
    *("+U", "smearing", "k-spacing", "POTCARs", "functional", "INCAR", "code"),
)
"""Kinds of keys, for tables."""

# How VASP gets there, what it writes, what it calculates afterwards, and what acts on moving ions alone.
_NOT_COMPARED = HARMLESS | {
    *(
        "SYSTEM",
        "MAGMOM",
        "LWAVE",
        "LCHARG",
        "LAECHG",
        "LORBIT",
        "LELF",
        "LVTOT",
        "LVHAR",
        "LVACPOTAV",
        "LPARD",
    ),
    *(
        "NEDOS",
        "EMIN",
        "EMAX",
        "NWRITE",
        "LH5",
        "LWAVEH5",
        "LCHARGH5",
        "LEFG",
        "QUAD_EFG",
        "LRHFATM",
        "ICORELEVEL",
        "LORBITALREAL",
    ),
    *("LPLANE", "LSCALU", "LSCALAPACK", "LSCAAWARE", "LASYNC", "LUSENCCL", "NTAUPAR", "NOMEGAPAR", "KPUSE"),
    *(
        "LDIAG",
        "LSUBROT",
        "WEIMIN",
        "EBREAK",
        "DEPER",
        "NRMM",
        "INIWAV",
        "MIXPRE",
        "INIMIX",
        "MIXFIRST",
        "WC",
    ),
    *("MREMOVE", "LMIXTAU", "LMAXMIX", "LDAUPRINT", "ROPT", "ENAUG", "BPARAM", "KBLOWUP", "LCOMPAT"),
    *(
        "NSW",
        "IBRION",
        "POTIM",
        "ISIF",
        "EDIFFG",
        "NFREE",
        "IOPT",
        "NBLOCK",
        "KBLOCK",
        "SMASS",
        "TEBEG",
        "TEEND",
    ),
    *("MDALGO", "APACO", "NPACO", "RANDOM_SEED", "ISTOP", "SAXIS", "DIPOL", "LOPTICS", "CSHIFT", "LEPSILON"),
    *("LPEAD", "LCALCPOL", "LCALCEPS", "LNABLA", "LWANNIER90", "KPOINT_BSE", "LRPA", "OMEGAMAX", "OMEGATL"),
    *("NOMEGA", "ANTIRES", "ENCUTGW", "NBANDSGW", "NBANDSO", "NBANDSV", "LNONCOLLINEAR_WRITE", "NELECT"),
}
_TOLD_APART = frozenset(
    {"GGA", "METAGGA", "KSPACING", "KGAMMA", "LDAU", "LDAUTYPE", "LDAUL", "LDAUU", "LDAUJ"}
)
"""Keys that are compared by what they mean together."""

# What VASP takes where nothing is said; a key that is neither here nor above differs wherever it is set.
_DEFAULTS: dict[str, Any] = {
    "ENCUT": None,
    "EDIFF": 1e-4,
    "PREC": "Normal",
    "ISMEAR": 1,
    "SIGMA": 0.2,
    "ISPIN": 1,
    "LASPH": False,
    "LREAL": False,
    "LHFCALC": False,
    "LUSE_VDW": False,
    "IVDW": 0,
    "LNONCOLLINEAR": False,
    "LSORBIT": False,
    "LSPIRAL": False,
    "NUPDOWN": -1,
    "ADDGRID": False,
    "LDIPOL": False,
    "LMONO": False,
    "IDIPOL": 0,
    "EFIELD": 0,
    "EFIELD_PEAD": 0,
    "PSTRESS": 0,
    "GGA_COMPAT": True,
    "LCORR": True,
    "LSOL": False,
    "NLSPLINE": False,
    "LMAXPAW": -100,
    "LMAXTAU": 6,
    "I_CONSTRAINED_M": 0,
    "SCALEE": 1,
    "VCA": 1,
    "ICHARG": 0,
}
_NEEDS = dict.fromkeys(
    ("AEXX", "AGGAX", "AGGAC", "ALDAC", "HFSCREEN", "PRECFOCK", "NKRED", "ENCUTFOCK", "LHFONE"), "LHFCALC"
)
"""Keys that act only if another one is true."""
_OF_FUNCTIONAL = frozenset({*_NEEDS, "LHFCALC", "LUSE_VDW", "IVDW"})
_SCF = frozenset({"normal", "veryfast", "very_fast", "fast", "conjugate", "all", "damped", "exact"})
_SCF_NUMBERS = frozenset({38, 44, 46, 48, 53, 54, 58, 68, 90})
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Difference:
    """One key in which a run is not of the level.

    Attributes
    ----------
    kind : which table row it belongs to: ``+U``, ``smearing``, ...
    key : e.g. ``ENCUT``, ``POTCAR Fe``
    wanted, found : values in words
    """

    kind: str
    key: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.key} {self.found} (level: {self.wanted})"


@dataclass
class LevelSettings:
    """Reference settings of a comparison with runs.

    Attributes
    ----------
    name : of the level
    incar : keys that define it
    spacing : of k-points, 1/Å with 2π; None for a level that has no rule, whose meshes are not compared
    titles : titles of the POTCARs of an element, without blanks
    version : of VASP; None if any will do
    hubbard : (l, U, J) of an element; none for a level without +U
    learns : an element that it does not know yet is taken as it comes: a level that a set of runs defines
    """

    name: str
    incar: dict[str, Any]
    spacing: float | None
    titles: dict[str, set[str]]
    version: str | None = None
    hubbard: dict[str, tuple[float, ...]] = field(default_factory=dict)
    learns: bool = False

    @classmethod
    def matpes(cls, name: str, version: str | None = None) -> Self:
        """Return the settings of ``MatPESStaticSet`` for ``pbe`` or ``r2scan``."""
        return cls.of_input_set(name, input_set_incar(FUNCTIONALS[name]), version)

    @classmethod
    def of_input_set(cls, name: str, incar: dict[str, Any], version: str | None) -> Self:
        """Return the settings of an INCAR with pymatgen's POTCARs of the level's data set."""
        symbols = potcars.symbols()
        known = potcars.known_data(symbols)
        titles = {
            element: {squeeze(entry[0]) for entry in known.get(symbol, [])}
            for element, symbol in symbols.items()
        }
        return cls(name, incar, float(incar["KSPACING"]), titles, version)

    @classmethod
    def of_run(cls, name: str, settings: RunSettings, cell: np.ndarray) -> Self:
        """Return the level that a first run defines for those after it."""
        keys = (settings.incar.keys() | _DEFAULTS.keys()) - _NOT_COMPARED - _TOLD_APART
        incar = {key: _effective(settings, key) for key in keys}
        incar |= dict([cls._functional_of(settings)])
        spacing = settings.incar.get("KSPACING")
        if spacing is not None and not (settings.gamma and settings.mesh in meshes(cell, spacing)):
            spacing = None
        made = cls(name, incar, spacing, {}, settings.version, learns=True)
        made.differences(settings, cell)  # takes its POTCARs and its U
        return made

    def differences(self, settings: RunSettings, cell: np.ndarray) -> list[Difference]:
        """Return every key in which a run of a crystal with this cell (3, 3) Å is not of the level.

        Empty: the run is of the level. A level that learns takes what it does not know from the run.
        """
        if settings.code != "vasp":
            return [Difference(CODE, "code", "VASP", settings.code)]
        found = [
            *self._functional(settings),
            *self._keys(settings),
            *self._hubbard(settings),
            *self._mesh(settings, cell),
            *self._potcars(settings),
        ]
        if self.version is not None and settings.version != self.version:
            found.append(Difference(CODE, "VASP version", self.version, settings.version or "not told"))
        return found

    def at_version(self, version: str | None) -> Self:
        """Return the same level with another version of VASP."""
        return replace(self, version=version)

    def identity(self) -> dict[str, Any]:
        """Return what defines the level, for fingerprints."""
        return {
            "incar": {
                key: value
                for key, value in sorted(self.incar.items())
                if key not in _NOT_COMPARED and value is not None
            },
            "spacing": self.spacing,
            "potcars": "of the runs" if self.learns else potcars.FUNCTIONAL,
        }

    def _functional(self, settings: RunSettings) -> list[Difference]:
        wanted = _functional(self.incar.get("METAGGA"), self.incar.get("GGA"), [])
        found = self._functional_of(settings)
        if wanted == found:
            return []
        key = "METAGGA" if "METAGGA" in {wanted[0], found[0]} else "GGA"
        return [Difference(FUNCTIONAL, key, wanted[1], found[1])]

    @staticmethod
    def _functional_of(settings: RunSettings) -> tuple[str, str]:
        return _functional(settings.get("METAGGA"), settings.get("GGA"), settings.titles)

    def _keys(self, settings: RunSettings) -> list[Difference]:
        keys = (self.incar.keys() | settings.incar.keys()) - _NOT_COMPARED - _TOLD_APART
        found = []
        for key in sorted(keys):
            used = _effective(settings, key)
            # what is false by itself may be said to be false
            wanted = self.incar.get(key, _DEFAULTS.get(key, False if isinstance(used, bool) else None))
            if key == "ICHARG":
                same = not isinstance(used, int) or used < 10  # above, the density stays as it was read
            elif key in _NEEDS and not (
                _truth(settings.get(_NEEDS[key])) or _truth(self.incar.get(_NEEDS[key]))
            ):
                continue
            elif key == "SIGMA" and settings.get("ISMEAR") in {-4, -5}:
                continue  # tetrahedra have no width
            elif key == "LMAXTAU" and self._functional_of(settings)[0] == "GGA":
                continue
            else:
                same = same_setting(key, used, wanted)
            if not same:
                kind = (
                    SMEARING if key in {"ISMEAR", "SIGMA"} else FUNCTIONAL if key in _OF_FUNCTIONAL else INCAR
                )
                words = "self-consistent" if key == "ICHARG" else _words(wanted)
                found.append(Difference(kind, key, words, _words(used)))
        return [*found, *_not_ground_state(settings)]

    def _hubbard(self, settings: RunSettings) -> list[Difference]:
        found = hubbard_of(settings)
        elements = {_element(title) for title in settings.titles}
        if self.learns and found is not None:
            new = elements - self.titles.keys()
            self.hubbard |= {element: found[element] for element in sorted(new & found.keys())}
        wanted = {element: self.hubbard[element] for element in elements & self.hubbard.keys()}
        return [] if found == wanted else [Difference(U, "LDAU", _u_words(wanted), _u_words(found))]

    def _mesh(self, settings: RunSettings, cell: np.ndarray) -> list[Difference]:
        if self.spacing is None:
            return []
        allowed = meshes(cell, self.spacing)
        if settings.mesh in allowed and settings.gamma:
            return []
        wanted = f"{_by(allowed[0])}, Γ-centred (KSPACING {self.spacing:g})"
        found = (
            settings.points
            if settings.mesh is None
            else f"{_by(settings.mesh)}{'' if settings.gamma else ', without Γ'}"
        )
        return [Difference(K_SPACING, "k-points", wanted, found or "not told")]

    def _potcars(self, settings: RunSettings) -> list[Difference]:
        if not settings.titles:
            return [Difference(POTCAR, "POTCAR", "known", "not told")]
        found = []
        for title in dict.fromkeys(settings.titles):
            element = _element(title)
            if self.learns:
                self.titles.setdefault(element, {squeeze(title)})
            wanted = self.titles.get(element, set())
            if squeeze(title) not in wanted:
                named = ", ".join(sorted(spaced(each) for each in wanted)) or "none"
                found.append(Difference(POTCAR, f"POTCAR {element}", named, title))
        return found


def explain(differences: Sequence[Difference]) -> str:
    """Return the keys that differ, then each with both values."""
    return f"{', '.join(each.key for each in differences)}: {'; '.join(map(str, differences))}"


def input_set_incar(functional: Functional) -> dict[str, Any]:
    """Return the INCAR of ``MatPESStaticSet`` without MAGMOM: no other key depends on the crystal."""
    from pymatgen.core import Lattice, Structure  # noqa: PLC0415 - slow to import
    from pymatgen.io.vasp.sets import MatPESStaticSet  # noqa: PLC0415 - slow to import

    any_crystal = Structure(Lattice.cubic(3.0), ["Si"], [[0, 0, 0]])
    incar = dict(MatPESStaticSet(any_crystal, xc_functional=functional).incar)
    return {key: value for key, value in incar.items() if key != "MAGMOM"}


def meshes(cell: np.ndarray, spacing: float) -> list[list[int]]:
    """Return the meshes that VASP makes of KSPACING: one; two where a rounding error decides.

    Parameters
    ----------
    cell : (3, 3) Å, rows are lattice vectors
    spacing : 1/Å, with 2π
    """
    steps = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0) / spacing
    rounded = [
        np.maximum(1, np.ceil(steps + error)).astype(int).tolist() for error in (-_ROUNDING, _ROUNDING)
    ]
    return rounded[:1] if rounded[0] == rounded[1] else rounded


def hubbard_of(settings: RunSettings) -> dict[str, tuple[float, ...]] | None:
    """Return (l, U, J) of every element with a U; None if +U is on and VASP does not tell on what."""
    if not _truth(settings.get("LDAU")):
        return {}
    elements = [_element(title) for title in settings.titles]
    columns = [_listed(settings, key, len(elements)) for key in ("LDAUL", "LDAUU", "LDAUJ")]
    if any(column is None for column in columns):
        return None
    rows = zip(elements, *(column or [] for column in columns), strict=True)
    return {element: (shell, u, j) for element, shell, u, j in rows if shell >= 0 and (u, j) != (0, 0)}


def same_setting(key: str, used: Any, wanted: Any) -> bool:
    """Whether two values of a key mean the same to VASP, in whichever spelling."""
    if used is None or wanted is None:
        return used is wanted
    if key == "LREAL" or isinstance(wanted, bool) or isinstance(used, bool):
        return _truth(used) == _truth(wanted)
    if key == "PREC":
        return str(used).strip().upper()[:1] == str(wanted).strip().upper()[:1]
    if isinstance(used, Sequence) and not isinstance(used, str):
        first = wanted if isinstance(wanted, Sequence) else [wanted] * len(used)
        return len(first) == len(used) and all(map(same_setting, [key] * len(used), used, first))
    try:
        return math.isclose(float(used), float(wanted), rel_tol=1e-6, abs_tol=1e-10)
    except (TypeError, ValueError):
        return str(used).strip().upper() == str(wanted).strip().upper()


def squeeze(title: str) -> str:
    """Return a POTCAR's title without blanks, as pymatgen's table has it."""
    return "".join(title.split())


def spaced(title: str) -> str:
    """Return a title with the blanks that VASP writes, e.g. ``PAW_PBE Fe_pv 02Aug2007``."""
    kind, rest = (title[:7], title[7:]) if title.startswith("PAW_PBE") else ("", title)
    date = 9 if rest[-9:-7].isdigit() else 0
    return " ".join(filter(None, (kind, rest[:-date] if date else rest, rest[-date:] if date else "")))


def _effective(settings: RunSettings, key: str) -> Any:
    value = settings.get(key)
    if key == "ENCUT" and value is None:
        value = settings.used.get("ENMAX")
    return _DEFAULTS.get(key) if value is None else value


def _functional(metagga: Any, gga: Any, titles: Sequence[str]) -> tuple[str, str]:
    """Return which key decides the functional, and its name; what a POTCAR brings if neither key is set."""
    for key, value in (("METAGGA", metagga), ("GGA", gga)):
        word = str(value or "").strip().upper()
        if word not in {"", "--", "NONE", "F", "FALSE", ".FALSE."}:
            return key, "PE" if word == "PBE" else word
    kinds = {title.split()[0].upper() if title.split() else "" for title in titles}
    if len(kinds) > 1:
        return "GGA", "of several kinds of POTCARs"
    named = {"PAW_PBE": "PE", "PAW_GGA": "91", "PAW": "CA", "PAW_LDA": "CA"}
    return "GGA", named.get(next(iter(kinds), "PAW_PBE"), "not told")


def _not_ground_state(settings: RunSettings) -> list[Difference]:
    """Find algorithms that do not iterate to the ground state: GW, RPA, one diagonalisation."""
    algo, number = settings.incar.get("ALGO"), settings.incar.get("IALGO")
    if algo is not None:
        word = str(algo).strip().lower()
        if word not in _SCF and not (len(word) == 1 and word in "nvfcade"):
            return [Difference(INCAR, "ALGO", "self-consistent", str(algo))]
    if number is not None and number not in _SCF_NUMBERS:
        return [Difference(INCAR, "IALGO", "self-consistent", str(number))]
    if settings.charge is not None and abs(settings.charge) > 1e-3:
        return [Difference(INCAR, "NELECT", "neutral", f"{settings.charge:+g} e")]
    return []


def _listed(settings: RunSettings, key: str, count: int) -> list[float] | None:
    for values in (settings.incar.get(key), settings.used.get(key)):
        listed = values if isinstance(values, list) else [] if values is None else [values]
        if len(listed) == count and None not in listed:
            return [float(value) for value in listed]
    return [0.0] * count if key == "LDAUJ" else None


def _truth(value: Any) -> bool:
    if isinstance(value, str):
        # LREAL may be Auto or On
        return value.strip(". ").upper()[:1] in {"T", "A", "O"}
    return bool(value)


def _element(title: str) -> str:
    words = title.split()
    return (words[1] if len(words) > 1 else title).split("_")[0].split(".")[0]


def _by(mesh: Sequence[int]) -> str:
    return "x".join(map(str, mesh))


def _words(value: Any) -> str:
    return "not set" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _u_words(u: dict[str, tuple[float, ...]] | None) -> str:
    if u is None:
        return "U, not told on what"
    return ", ".join(f"U({element}) = {values[1]:g} eV" for element, values in sorted(u.items())) or "no U"
