"""A paragraph on methods, ready for a paper: what was done and with what, what was not, and what to cite."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pesatlas.campaign.account import Account, exported_verdicts
from pesatlas.campaign.campaign_tables import CampaignTables
from pesatlas.campaign.caveats import caveats
from pesatlas.campaign.dataset_state import identifier
from pesatlas.campaign.layout import below, is_file_of
from pesatlas.campaign.source_texts import format_sources
from pesatlas.report.figure_rows import Reader
from pesatlas.report.summary import counted

REFERENCES = {
    "MatPES": "A. D. Kaplan et al., A foundational potential energy surface dataset for materials, arXiv "
    "2503.04070 (2025)",
    "DIRECT": "J. Qi et al., Robust training of machine learning interatomic potentials with "
    "dimensionality reduction and "
    "stratified sampling, npj Comput. Mater. 10, 43 (2024), arXiv 2307.13710",
    "chgnet": "B. Deng et al., CHGNet as a pretrained universal neural network potential for "
    "charge-informed atomistic "
    "modelling, Nat. Mach. Intell. 5, 1031 (2023)",
    "m3gnet": "C. Chen and S. P. Ong, A universal graph deep learning interatomic potential for the "
    "periodic table, Nat. "
    "Comput. Sci. 2, 718 (2022)",
    "tensornet": "G. Simeon and G. De Fabritiis, TensorNet: Cartesian tensor representations for efficient "
    "learning of "
    "molecular potentials, arXiv 2306.06482 (2023)",
    "mace": "I. Batatia et al., MACE: Higher order equivariant message passing neural networks for fast "
    "and accurate force "
    "fields, arXiv 2206.07697 (2022)",
    "matgl": "T. W. Ko et al., Materials Graph Library (MatGL), an open-source graph deep learning library "
    "for materials "
    "science and chemistry, arXiv 2503.03837 (2025)",
    "thermostat": "G. Bussi, D. Donadio and M. Parrinello, Canonical sampling through velocity rescaling, "
    "J. Chem. Phys. "
    "126, 014101 (2007)",
    "barostat": "M. Bernetti and G. Bussi, Pressure control using stochastic cell rescaling, J. Chem. "
    "Phys. 153, 114107 "
    "(2020); V. Del Tatto et al., Appl. Sci. 12, 1139 (2022)",
    "gpaw": "J. J. Mortensen et al., GPAW: An open Python package for electronic structure calculations, "
    "J. Chem. Phys. "
    "160, 092503 (2024)",
    "vasp": "G. Kresse and J. Furthmüller, Phys. Rev. B 54, 11169 (1996); G. Kresse and D. Joubert, Phys. "
    "Rev. B 59, 1758 "
    "(1999)",
    "pbe": "J. P. Perdew, K. Burke and M. Ernzerhof, Generalized gradient approximation made simple, Phys. "
    "Rev. Lett. 77, "
    "3865 (1996)",
    "r2scan": "J. W. Furness et al., Accurate and numerically efficient r2SCAN meta-generalized gradient "
    "approximation, J. "
    "Phys. Chem. Lett. 11, 8208 (2020)",
    "snakemake": "F. Mölder et al., Sustainable data analysis with Snakemake, F1000Research 10, 33 (2021)",
    "ase": "A. Hjorth Larsen et al., The atomic simulation environment, J. Phys.: Condens. Matter 29, "
    "273002 (2017)",
    "pymatgen": "S. P. Ong et al., Python Materials Genomics (pymatgen), Comput. Mater. Sci. 68, 314 (2013)",
}
"""Citations, by the word that names each in options, levels and codes."""

_NOT_LOOKED_FOR = {"dispersion": "a dispersion correction", "hubbard_u": "a Hubbard U"}


@dataclass(frozen=True)
class Methods:
    """Methods of a campaign.

    Attributes
    ----------
    paragraph : prose with numbers of references in brackets
    not_done : sentences on what was not done
    references : in the order of their numbers
    facts : date, authors, version, state
    checksums : file, rows and sha256 of the datasets
    """

    paragraph: str
    not_done: list[str]
    references: list[str]
    facts: list[tuple[str, str]]
    checksums: list[tuple[str, str, str]]


class _Citations:
    """Numbers of references, in the order in which they are cited."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, *names: str) -> str:
        known = [name for name in dict.fromkeys(names) if name in REFERENCES]
        self.names += [name for name in known if name not in self.names]
        return f" [{', '.join(str(self.names.index(name) + 1) for name in known)}]" if known else ""


def methods(reader: Reader, manifest: Mapping[str, Any], accounts: Sequence[Account]) -> Methods:
    """Return the methods of a campaign, from its configuration, its tables and its manifest."""
    cite = _Citations()
    parts = [
        _structures(reader.tables, manifest),
        _dynamics(reader, manifest, cite),
        _selection(manifest, cite),
        *(_level(level, manifest, cite) for level in manifest["levels"]),
        _acceptance(manifest, accounts),
        _programs(manifest, cite),
    ]
    return Methods(
        " ".join(part for part in parts if part),
        _not_done(reader.results, manifest),
        [REFERENCES[name] for name in cite.names],
        _facts(reader, manifest),
        [
            (entry["file"], f"{entry['rows']:,}", entry["sha256"])
            for entry in manifest["files"]
            if is_file_of(entry["file"], "dataset")
        ],
    )


def _structures(tables: CampaignTables, manifest: Mapping[str, Any]) -> str:
    counts = counted(dict(manifest))
    sources = [name for (name,) in tables.query("SELECT DISTINCT source FROM it ORDER BY 1", "structures")]
    domains = [name for (name,) in tables.query("SELECT DISTINCT domain FROM it ORDER BY 1", "structures")]
    return (
        f"{counts['structures.accepted']:,} crystals from {_listed(format_sources(sources))} gave "
        f"{counts['structures.rows']:,} cells "
        f"(domain{'s' if len(domains) > 1 else ''} {_listed(domains)})."
    )


def _dynamics(reader: Reader, manifest: Mapping[str, Any], cite: _Citations) -> str:
    found = reader.tables.query(
        "SELECT min(temperature_K), max(temperature_K), min(pressure_GPa), max(pressure_GPa), "
        "max(time_fs) / 1000, any_value(potential), list(DISTINCT ensemble), count(*), "
        "count(DISTINCT (structure_id, variant, condition)) FROM it WHERE ensemble <> 'none'",
        "snapshots",
    )
    counts = counted(dict(manifest))
    if not found or found[0][0] is None:
        return f"No dynamics were run; the pool has {counts['snapshots.rows']:,} cells as given."
    low, high, least, most, longest, potential, ensembles, frames, trajectories = found[0]
    still = counts["snapshots.rows"] - frames
    interval = manifest["configuration"].get("explore", {}).get("frame_interval_ps")
    barostat = any(each.startswith("NpT") for each in ensembles)
    return (
        f"Molecular dynamics with {potential}{cite(*_potential(potential))} sampled {_span(low, high, 'K')}"
        + (f" and {_span(least, most, 'GPa')}" if barostat else "")
        + f" in {trajectories:,} {'trajectory' if trajectories == 1 else 'trajectories'} of at most "
        f"{longest:.3g} ps"
        + (f", with a frame every {interval:g} ps" if interval else "")
        + f", controlled by stochastic velocity rescaling{cite('thermostat')}"
        + (f" and stochastic cell rescaling{cite('barostat')}" if barostat else "")
        + f": {frames:,} frames."
        + (f" The pool has {still:,} cells without dynamics, too." if still else "")
    )


def _potential(name: str) -> list[str]:
    """Return what to cite for a potential, by the words in its name."""
    words = name.lower()
    found = [key for key in ("chgnet", "m3gnet", "tensornet", "mace", "matgl") if key in words]
    return [*found, "MatPES"] if "matpes" in words else found


def _selection(manifest: Mapping[str, Any], cite: _Citations) -> str:
    select = manifest["configuration"].get("select", {})
    counts = counted(dict(manifest))
    policy = select.get("policy", {}).get("kind")
    encoder = manifest["configuration"].get("encode", {}).get("encoder", {}).get("kind")
    stages = [
        f"{each['clusters']:,} clusters of {of}"
        if each.get("clusters")
        else f"threshold {each['threshold']:g} of {of}"
        for name, of in (("structure", "structures"), ("atoms", "atoms"))
        if (each := select.get(name, {})).get("clusters") or each.get("threshold")
    ]
    return (
        "Frames"
        + (
            f" were described by features of {encoder}{cite(*_potential(encoder))} and"
            if encoder
            else " were"
        )
        + " clustered in two stages, by structure and by atomic environment, as in DIRECT "
        f"sampling{cite('DIRECT', 'MatPES')}"
        + (f" ({' and '.join(stages)})" if stages else "")
        + (f"; policy {policy}" if policy else "")
        + f" picked {counts['selection.rows']:,} of {counts['selection.pool']:,}."
    )


def _level(level: str, manifest: Mapping[str, Any], cite: _Citations) -> str:
    definition = manifest.get("surfaces", {}).get(level, {}).get("definition") or {}
    codes, settings = definition.get("code", {}), definition.get("settings", {})
    told = ", ".join(f"{name} {version}" for name, version in codes.items()) or "a code that the rows name"
    names = [*(name.lower() for name in codes), level, *_potential(" ".join(map(str, codes.values())))]
    numbers = [
        f"{words} {_setting(settings[name])}"
        for name, words in _SETTINGS.items()
        if settings.get(name) is not None
    ]
    return (
        f"Labels at {level} are single-point evaluations with {told}{cite(*names)}"
        + (f", functional {definition['functional']}" if definition.get("functional") else "")
        + (f" ({'; '.join(numbers)})" if numbers else "")
        + "."
    )


_SETTINGS = {
    "cutoff_eV": "cut-off (eV)",
    "ENCUT": "ENCUT (eV)",
    "kpoint_spacing_per_A": "k-point spacing (1/Å)",
    "KSPACING": "KSPACING (1/Å)",
    "width_eV": "smearing (eV)",
}


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_setting(each)} for {name}" for name, each in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _acceptance(manifest: Mapping[str, Any], accounts: Sequence[Account]) -> str:
    rules = manifest["configuration"].get("dataset", {}).get("rules", {})
    verdicts = exported_verdicts(manifest)
    sums = "; ".join(f"{each.level}: {each.sentence(verdicts)}" for each in accounts)
    return f"Labels were checked by the rules {_listed(list(rules))}. {sums}."


def _programs(manifest: Mapping[str, Any], cite: _Citations) -> str:
    return (
        f"The campaign was run with pesatlas {manifest['code_version']}, which uses "
        f"Snakemake{cite('snakemake')}, ASE{cite('ase')} and pymatgen{cite('pymatgen')}."
    )


def _not_done(results: Path, manifest: Mapping[str, Any]) -> list[str]:
    measured = all(below(results, "convergence", level=level).is_file() for level in manifest["levels"])
    configuration = manifest["configuration"]
    potential = any("NOT DFT" in each for each in caveats(dict(manifest)))
    without = {
        what
        for found in manifest.get("surfaces", {}).values()
        for name, what in _NOT_LOOKED_FOR.items()
        if name in (settings := (found.get("definition") or {}).get("settings", {}))
        and settings[name] is None
    }
    return [
        *(f"{each[0].upper()}{each[1:]}." for each in caveats(dict(manifest))),
        "Structures were not relaxed at the level of the labels.",
        *([] if potential or measured else ["Convergence with k-points and cut-off was not measured."]),
        *(
            []
            if potential
            else ["Magnetic orders other than the one that calculations started from were not tried."]
        ),
        *([f"Labels are without {' and '.join(sorted(without))}."] if without else []),
        *([] if configuration.get("train") else ["No potential was trained on the dataset."]),
        *([] if configuration.get("benchmark") else ["No potential was benchmarked."]),
    ]


def _facts(reader: Reader, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    card = manifest["configuration"].get("dataset", {}).get("card", {})
    authors = [f"{each['given']} {each['family']}" for each in card.get("authors", [])]
    # as in the card: the day on which the dataset was collected
    made = dt.datetime.fromtimestamp(below(reader.results, "manifest").stat().st_mtime, tz=dt.UTC)
    return [
        ("dataset collected on", made.date().isoformat()),
        ("authors", ", ".join(authors) or "not stated: dataset.card.authors in config.yaml"),
        ("licence", card.get("licence", "not stated")),
        *([("DOI", card["doi"])] if card.get("doi") else []),
        ("version of pesatlas", manifest["code_version"]),
        ("state of the dataset", identifier(manifest) or "not recorded by this version"),
    ]


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names) or "none"


def _span(low: float, high: float, unit: str) -> str:
    return f"{low:g} {unit}" if low == high else f"{low:g} to {high:g} {unit}"
