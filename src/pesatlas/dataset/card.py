"""The dataset card: contents, methods, losses, citation; for people and for programs."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

import pesatlas
from pesatlas.atoms.elements import symbol_of
from pesatlas.campaign.account import accounts, exported_verdicts
from pesatlas.campaign.caveats import caveats
from pesatlas.campaign.dataset_state import CARD, CITATION, CRATE, PAGE, identifier
from pesatlas.campaign.domain_summary import count_by_domain
from pesatlas.campaign.layout import below, is_file_of, within
from pesatlas.campaign.splits import split_remarks
from pesatlas.campaign.strain_test import (
    StrainTest,
    strain_caveats,
    strain_sentence,
    strain_state,
    strain_tests,
)
from pesatlas.config.dataset import Card
from pesatlas.dataset.atlas import Atlas
from pesatlas.dataset.card_page import page
from pesatlas.dataset.dataset_rows import FUNCTIONALS
from pesatlas.storage.atomic import write_text
from pesatlas.tables.failures import LOST
from pesatlas.tables.manifest import check_content
from pesatlas.tables.schemas import MADE_BY, SOURCES

LIMITS = [
    (
        "Each level is a separate level of theory: energies of different levels, codes or "
        "pseudopotentials cannot be mixed."
    ),
    (
        "Energies are total energies, never corrected: compare them with corrected ones (Materials Project) "
        "only after the same correction."
    ),
    (
        "Formation energies are relative to this campaign's crystals of the elements, not "
        "relaxed at the level."
    ),
    (
        "Structures come from dynamics with the potential named above: regions that it does "
        "not visit are missing."
    ),
]


_DEFAULT = (
    "# license: the default of dataset.card.licence, which nobody stated; check it before you publish\n"
)


def write_card(settings: Card, results: Path) -> None:
    """Write ``card.json``, ``card.md``, ``CITATION.cff`` and ``ro-crate-metadata.json`` into ``results``."""
    atlas = pesatlas.open(results)
    card = make_card(atlas, settings)
    write_text(results / CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    write_text(results / PAGE, page(card))
    write_text(results / CITATION, _citation(card, settings))
    write_text(results / CRATE, _crate(atlas, card))


def make_card(atlas: Atlas, settings: Card) -> dict[str, Any]:
    """Return everything that the card says, as JSON."""
    manifest = atlas.manifest
    configuration = manifest["configuration"]
    levels = " and ".join(FUNCTIONALS.get(level, level) for level in atlas.levels)
    tested = strain_tests(atlas.root, manifest)
    beware = [*caveats(manifest), *strain_caveats(tested)]
    return {
        "title": settings.title or f"{manifest['campaign']}: potential energy surfaces at {levels}",
        "caveats": beware,
        "campaign": manifest["campaign"],
        "made_with": _made_with(manifest),
        "date": _date(atlas),
        "identifier": identifier(manifest),
        "licence": settings.licence,
        "licence_stated": "licence" in settings.model_fields_set,
        "doi": settings.doi,
        "authors": [author.model_dump() for author in settings.authors],
        "levels": {level: _level(atlas, level, tested[level]) for level in atlas.levels},
        "strain_tests": strain_state(tested.values()),
        "account": {
            each.level: each.sentence(exported_verdicts(manifest)) for each in accounts(atlas.root, manifest)
        },
        "elements": _elements(atlas),
        "domains": count_by_domain(atlas.root, manifest),
        "splits": {
            "seed": configuration.get("campaign", {}).get("seed"),
            **configuration["dataset"].get("split", {}),
            **manifest.get("splits", {}),
            "remarks": split_remarks(manifest),
        },
        "rules": configuration["dataset"].get("rules", {}),
        "filters": _filters(atlas),
        "failures": _query(
            atlas,
            f"SELECT stage, level, reason, count(*) AS rows FROM failures WHERE {LOST} "  # noqa: S608 - a reason of ours
            "GROUP BY ALL ORDER BY ALL",
        ),
        "exploration": _exploration(atlas),
        "selection": {
            **configuration.get("select", {}),
            "counts": _counts(atlas, "selection"),
            "encoder": _encoder(atlas),
            "coverage": _coverage(atlas),
        },
        "references": manifest["references"],
        **({"charges": charges} if (charges := _charges(atlas)) else {}),
        "sums": manifest["sums"],
        "units": {
            "energy": "eV",
            "length": "Å",
            "force": "eV/Å",
            "stress": "eV/Å³, tension positive, xx yy zz yz xz xy",
        },
        "limits": [*(f"Warning: {each}." for each in beware), *LIMITS, *settings.remarks],
        "configuration": configuration,
    }


def _made_with(manifest: dict[str, Any]) -> str:
    """Name the version of pesatlas, and whose extensions took part.

    Manifests of older versions tell of none.
    """
    others = manifest.get("plugins", [])
    return f"pesatlas {manifest['code_version']}{' with ' if others else ''}{', '.join(others)}"


def _level(atlas: Atlas, level: str, test: StrainTest | None) -> dict[str, Any]:
    """Return what there is at a level: how much of it, its range, what it is, and its strain test."""
    here = f"FROM dataset WHERE level = '{level}'"
    (numbers,) = _query(
        atlas,
        "SELECT count(*) AS rows, count(DISTINCT structure_id) AS crystals, count(DISTINCT chemical_system) "
        "AS chemical_systems, coalesce(sum(n_atoms), 0)::BIGINT AS atoms, max(n_atoms) AS largest_cell, "
        "min(cohesive_energy_eV_per_atom) AS lowest_cohesive_energy_eV_per_atom, "
        "max(cohesive_energy_eV_per_atom) AS highest_cohesive_energy_eV_per_atom, max(max_force_eV_per_A) AS "
        "largest_force_eV_per_A, min(static_pressure_GPa) AS lowest_pressure_GPa, max(static_pressure_GPa) "
        f"AS highest_pressure_GPa {here}",
    )
    by = {
        what: {
            row["value"]: row["rows"]
            for row in _query(
                atlas,
                f"SELECT {column} AS value, count(*) AS rows {here} GROUP BY ALL ORDER BY rows DESC, value",
            )
        }
        for what, column in (
            ("verdicts", "verdict"),
            ("splits", "split"),
            ("conditions", "condition"),
            ("material_groups", "material_group"),
            ("codes", "code"),
        )
    }
    # how a program is started is of one machine; the definition is below its own key
    strain = test and test.model_dump(mode="json", exclude={"command", "definition"})
    return {
        **numbers,
        **by,
        **atlas.manifest["surfaces"][level],
        "strain": strain,
        "strain_sentence": strain_sentence(test),
    }


def _charges(atlas: Atlas) -> list[dict[str, Any]]:
    """Return how many rows have Bader charges and by which method, or why they have none, by level.

    Nothing if no row was asked for them, or the table is of a version that had none.
    """
    if all(row["column_name"] != "bader_method" for row in _query(atlas, "DESCRIBE dataset")):
        return []
    return _query(
        atlas,
        "SELECT level, bader_method AS method, bader_missing AS missing, count(*) AS rows FROM dataset WHERE "
        "bader_method IS NOT NULL OR bader_missing IS NOT NULL GROUP BY ALL ORDER BY ALL",
    )


def _elements(atlas: Atlas) -> dict[str, dict[str, int]]:
    """Return in how many rows each element is, by level."""
    rows = _query(
        atlas,
        "SELECT number, level, count(*) AS rows FROM (SELECT level, unnest(list_distinct(numbers)) AS number "
        "FROM dataset) GROUP BY ALL ORDER BY number, level",
    )
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        found.setdefault(symbol_of(row["number"]), {})[row["level"]] = row["rows"]
    return found


def _filters(atlas: Atlas) -> list[dict[str, Any]]:
    """Return how many rows triggered each rule, by level."""
    every = " UNION ALL ".join(
        f"SELECT level, unnest(from_json(verdict_rules, '[\"JSON\"]')) AS violations FROM {table}"  # noqa: S608 - two names of ours
        for table in ("dataset", "quarantine")
    )
    return _query(
        atlas,
        "SELECT level, violations->>'rule' AS rule, violations->>'then' AS consequence, count(*) AS rows "  # noqa: S608 - as above
        f"FROM ({every}) GROUP BY ALL ORDER BY ALL",
    )


def _exploration(atlas: Atlas) -> dict[str, Any]:
    """Return where structures came from and what drove the dynamics."""
    return {
        "sources": _query(
            atlas, "SELECT source, count(*) AS cells FROM structures GROUP BY ALL ORDER BY ALL"
        ),
        "licences": _licences(atlas),
        "potentials": _potentials(atlas),
        "conditions": _query(
            atlas,
            "SELECT DISTINCT condition, ensemble, temperature_K, pressure_GPa FROM dataset ORDER BY ALL",
        ),
        "structures": _counts(atlas, "structures"),
        "snapshots": _counts(atlas, "snapshots"),
    }


def _licences(atlas: Atlas) -> list[dict[str, Any]]:
    """Return licences, numbers of read entries and of explored crystals for each kind of source."""
    (path,) = atlas.table("structures").files
    check_content(Path(path))
    stored = (pq.read_schema(path).metadata or {}).get(SOURCES.encode())
    stated = {each["kind"]: each for each in json.loads(stored)} if stored else {}
    rows = _query(
        atlas,
        "SELECT split_part(source, ' ', 1) AS kind, count(DISTINCT structure_id) AS crystals FROM "
        "structures GROUP BY ALL ORDER BY ALL",
    )
    crystals = {row["kind"]: row["crystals"] for row in rows}
    return [
        {
            "kind": kind,
            "licences": stated.get(kind, {}).get("licences", ["not stated"]),
            "read": stated.get(kind, {}).get("read"),
            "crystals": crystals.get(kind, 0),
        }
        for kind in dict.fromkeys([*stated, *crystals])
    ]


def _potentials(atlas: Atlas) -> list[dict[str, Any]]:
    """Return the potentials of the dynamics, with licence and versions where their kind tells of them."""
    told: dict[tuple[str, str], dict[str, Any]] = {}
    for path in atlas.files().get("snapshots", ()):
        stored = (pq.read_schema(path).metadata or {}).get(MADE_BY.encode())
        if stored:
            about = json.loads(stored)
            told[about["potential"], about["potential_hash"]] = about
    rows = _query(atlas, "SELECT DISTINCT potential, potential_hash FROM dataset ORDER BY ALL")
    return [{**row, **told.get((row["potential"], row["potential_hash"]), {})} for row in rows]


def _encoder(atlas: Atlas) -> dict[str, Any]:
    """Return which model described the frames.

    Its options, its name and the hash of its weights, as the features have them.
    """
    options: dict[str, Any] = atlas.manifest["configuration"].get("encode", {}).get("encoder", {})
    found: list[str] = [*atlas.table("features").files] if "features" in atlas.tables else []
    for path in found[:1]:
        check_content(Path(path))
    metadata = (pq.read_schema(found[0]).metadata or {}) if found else {}
    name, weights = (metadata.get(f"pesatlas.{key}".encode()) for key in ("encoder", "encoder_hash"))
    return {
        **options,
        "name": name.decode() if name else None,
        "weights_hash": weights.decode() if weights else None,
    }


def _coverage(atlas: Atlas) -> dict[str, dict[str, Any]]:
    """Return the last rows of table ``quality``.

    What all the picks cover, and what the same number of random frames does.
    """
    last: dict[str, dict[str, Any]] = {}
    for row in sorted(atlas.find("quality"), key=lambda row: row["picks"]):
        last[row["of"]] = {name: value for name, value in row.items() if name != "of"}
    return last


def _counts(atlas: Atlas, table: str) -> dict[str, int]:
    """Add up what a stage counted, over its files."""
    total: dict[str, int] = {}
    for entry in atlas.manifest["files"]:
        if entry["table"] == table:
            for name, count in {"rows": entry["rows"], **entry["counts"]}.items():
                total[name] = total.get(name, 0) + count
    return total


def _query(atlas: Atlas, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = atlas.query(sql).to_pylist()
    return found


def _date(atlas: Atlas) -> str:
    """Return the day on which the dataset was collected."""
    made = below(atlas.root, "manifest").stat().st_mtime
    return dt.datetime.fromtimestamp(made, tz=dt.UTC).date().isoformat()


def _beware(card: dict[str, Any]) -> str:
    return "".join(f" Warning: {each}." for each in card["caveats"])


def _citation(card: dict[str, Any], settings: Card) -> str:
    """Return CITATION.cff, version 1.2.0; a comment tells of a licence that nobody stated."""
    people = [
        {
            "family-names": author.family,
            "given-names": author.given,
            **({"orcid": f"https://orcid.org/{author.orcid}"} if author.orcid else {}),
        }
        for author in settings.authors
    ]
    cited = {
        "cff-version": "1.2.0",
        "message": "If you use this dataset, please cite it as below, and the programs that made it.",
        "type": "dataset",
        "title": card["title"],
        "authors": people or [{"name": f"The authors of campaign {card['campaign']}"}],
        "date-released": card["date"],
        "license": card["licence"],
        **({"doi": card["doi"]} if card["doi"] else {}),
        **({"identifiers": [_identifier(card)]} if card["identifier"] else {}),
        "abstract": f"Energies, forces and stresses at {', '.join(card['levels'])}, made with "
        f"{card['made_with']}.{_beware(card)}",
    }
    return _DEFAULT * (not card["licence_stated"]) + yaml.safe_dump(
        cited, sort_keys=False, allow_unicode=True
    )


def _identifier(card: dict[str, Any]) -> dict[str, str]:
    return {
        "type": "other",
        "value": card["identifier"],
        "description": "state of the dataset that this was written for",
    }


def _crate(atlas: Atlas, card: dict[str, Any]) -> str:
    """Return an RO-Crate's metadata.

    The dataset, its files with their checksums, who and under which licence.
    """
    from rocrate.model.person import Person  # noqa: PLC0415 - slow to import
    from rocrate.rocrate import ROCrate  # noqa: PLC0415

    crate = ROCrate()
    crate.name = card["title"]
    crate.description = (
        f"Dataset of campaign {card['campaign']}, made with {card['made_with']}.{_beware(card)}"
    )
    crate.license = f"https://spdx.org/licenses/{card['licence']}"
    crate.root_dataset["datePublished"] = card["date"]
    if card["identifier"]:
        crate.root_dataset["identifier"] = card["identifier"]
    for author in card["authors"]:
        known = f"https://orcid.org/{author['orcid']}" if author["orcid"] else None
        name = f"{author['given']} {author['family']}"
        crate.root_dataset.append_to("author", crate.add(Person(crate, known, properties={"name": name})))
    for entry in atlas.manifest["files"]:
        if is_file_of(entry["file"], "dataset", "quarantine"):
            about = {
                "encodingFormat": "application/vnd.apache.parquet",
                "contentSize": str(entry["bytes"]),
                "sha256": entry["sha256"],
            }
            crate.add_file(str(atlas.root / entry["file"]), entry["file"], properties=about)
    for name in (CARD, PAGE, CITATION, within("manifest")):
        crate.add_file(str(atlas.root / name), name)
    return json.dumps(crate.metadata.generate(), indent=1, ensure_ascii=False) + "\n"
