"""From sources to table ``structures``: read, name, check, drop duplicates, build cells, pack batches.

Everything that a source yields is counted and ends in exactly one place: it is accepted, and has a row for
each of its cells, or it has a row in the table of failures. A cell that a domain cannot make of a crystal has
a row there, too. Rows are sorted by structure_id and variant, and batches are cut from that order: batch =
row number // explore.structures_per_job. Sizes are not balanced between batches; explore packs atoms inside a
job.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pymatgen.core import Composition, Element

from pesatlas import __version__
from pesatlas.atoms.elements import atomic_number
from pesatlas.config import plugins
from pesatlas.config.explore import LAST_STEP, Explore
from pesatlas.config.section import digest
from pesatlas.config.structures import Structures
from pesatlas.errors import UserError
from pesatlas.levels.lookup import supported_elements
from pesatlas.potentials.loading import elements_of
from pesatlas.runtime.progress import Progress
from pesatlas.structures.accept import sort_out
from pesatlas.structures.checks import Rules
from pesatlas.structures.crystal import Cell, Crystal, Read, Refused, Rejected
from pesatlas.structures.source_caches import FILES_OF_SOURCES, content_of_sources
from pesatlas.structures.vacuum import vacuum_warning
from pesatlas.tables import TableWriter, write_table
from pesatlas.tables.failures import failure_row
from pesatlas.tables.io import ROW_GROUP
from pesatlas.tables.manifest import made_of_files
from pesatlas.tables.schemas import SOURCES

log = logging.getLogger(__name__)

_EXAMPLES = 5
"""Of many of a kind, so many are named in messages."""


def prepare_structures(
    settings: Structures, explore: Explore, backend: Any, structures: Path, failures: Path
) -> None:
    """Write the tables ``structures`` and ``failures`` (of this stage).

    Parameters
    ----------
    explore : its potential allows elements, its batches and lengths of trajectories are those of the table
    backend : options of the labelling backend, which allows elements too

    Raises
    ------
    UserError
        If a source cannot be read at all, or no crystal is left.
    """
    made_of_files(FILES_OF_SOURCES, content_of_sources(settings))
    rules = rules_of(settings, explore.potential, backend)
    fingerprint = digest(settings.identity(), explore.structures_per_job, _as_json(rules))
    origins: dict[str, Origin] = {}
    accepted, failed, read = sort_out(
        read_sources(settings, origins), rules, remove_duplicates=settings.remove_duplicates
    )
    _say(read, accepted, failed)
    refused: list[tuple[str, Rejected]] = []
    counts = {"sources_read": read, "accepted": len(accepted), "failed": len(failed)}
    metadata = {SOURCES: json.dumps([asdict(origin) for origin in origins.values()])}
    with TableWriter(structures, "structures", fingerprint, metadata) as writer:
        counts |= _write_rows(writer, settings, explore, accepted, rules, refused)
        refused.sort(key=lambda item: item[0])
        log.info("%d cells in %d batches, %d refused", counts["cells"], counts["batches"], len(refused))
        writer.counts.update(counts)
        write_table(
            failures,
            "failures",
            [
                failure_row("structures", key, why.structure_id, why.reason, why.detail)
                for key, why in [*failed, *refused]
            ],
            fingerprint,
            counts,
        )


def rules_of(
    settings: Structures, potential: Any, backend: Any, labelled: frozenset[int] | None = None
) -> Rules:
    """Return the checks of crystals.

    Limits of the section, and the elements that potential, backend and user allow.

    Parameters
    ----------
    labelled : atomic numbers that the backend can label, if its files are not to be looked for
    """
    known = {
        f"the potential '{potential.kind}' (explore.potential)": elements_of(potential),
        f"the backend '{backend.kind}' (label.backend)": supported_elements(backend)
        if labelled is None
        else labelled,
    }
    if settings.elements is not None:
        known["structures.elements"] = frozenset(atomic_number(symbol) for symbol in settings.elements)
    return Rules(known, settings.max_atoms, settings.min_distance_A)


def _as_json(rules: Rules) -> list[Any]:
    return [
        {who: sorted(elements) for who, elements in rules.known.items()},
        rules.max_atoms,
        rules.min_distance_A,
    ]


@dataclass
class Origin:
    """A kind of source: under which licences it gives crystals, and how many entries were read."""

    kind: str
    licences: list[str]
    read: int = 0


def read_sources(settings: Structures, origins: dict[str, Origin]) -> Iterator[Read]:
    """Yield what the sources have; ``origins`` takes their licences and counts by kind."""
    progress = Progress("read")
    for options in settings.sources:
        module = plugins.find("pesatlas.structures.sources", options.kind)
        origin = origins.setdefault(options.kind, Origin(options.kind, []))
        licence = module.licence(options) if hasattr(module, "licence") else "not stated"
        if licence not in origin.licences:
            origin.licences.append(licence)
        for read in module.load(options):
            progress.step()
            origin.read += 1
            yield read


def _say(read: int, accepted: Sequence[Crystal], failed: list[tuple[str, Rejected]]) -> None:
    """Log what came of the sources; an empty campaign is an error."""
    reasons = Counter(str(why.reason) for _, why in failed)
    counted = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
    log.info(
        "%d crystals read: %d accepted, %d failed%s",
        read,
        len(accepted),
        len(failed),
        f" ({counted})" if counted else "",
    )
    if not accepted:
        examples = "\n".join(f"  - {key}: {why.reason}: {why.detail}" for key, why in failed[:5])
        raise UserError(
            f"structures: no crystal is left of the {read} that structures.sources gave "
            f"({counted or 'the sources are empty'}).\n{examples}"
        )


def _write_rows(
    writer: TableWriter,
    settings: Structures,
    explore: Explore,
    accepted: Sequence[Crystal],
    rules: Rules,
    refused: list[tuple[str, Rejected]],
) -> dict[str, int]:
    """Write the rows of the table, sorted, with their batches, and return how many.

    ``refused`` takes what domains made no cell of.

    Crystals come sorted by id, so that a row group is all that is in memory.
    """
    progress = Progress("built the cells of", len(accepted))
    domains = [
        (plugins.find("pesatlas.structures.domains", options.kind), options) for options in settings.domains
    ]
    kinds = [options.kind for options in settings.domains]
    waiting: list[dict[str, Any]] = []
    cells = trajectories = 0
    in_vacuum = 0
    examples: list[str] = []
    for given in accepted:
        crystal = given
        if warning := vacuum_warning(given, kinds):
            crystal = replace(given, warnings=(*given.warnings, warning))
            in_vacuum += 1
            if in_vacuum <= _EXAMPLES:
                examples.append(f"{given.structure_id}: {warning}")
        for cell in sorted(_cells(domains, crystal, rules, refused), key=lambda cell: cell.variant):
            _check_lengths(cell, explore)
            waiting.append(_row(crystal, cell, cells // explore.structures_per_job))
            cells += 1
            trajectories += len(cell.conditions)
            if len(waiting) == ROW_GROUP:
                writer.write(waiting)
                waiting = []
        progress.step()
    if in_vacuum:
        log.warning(
            "%d crystals are in vacuum, as their rows say (column `warnings`), such as\n%s",
            in_vacuum,
            "\n".join(f"  - {line}" for line in examples),
        )
    if not cells:
        refused.sort(key=lambda item: item[0])
        first = "\n".join(f"  - {key}: {why.reason}: {why.detail}" for key, why in refused[:_EXAMPLES])
        raise UserError(f"structures.domains: no cell could be made of any crystal.\n{first}")
    if waiting:
        writer.write(waiting)
    return {
        "cells_refused": len(refused),
        "cells": cells,
        "trajectories": trajectories,
        "batches": (cells - 1) // explore.structures_per_job + 1,
    }


def _cells(
    domains: Sequence[tuple[Any, Any]],
    crystal: Crystal,
    rules: Rules,
    refused: list[tuple[str, Rejected]],
) -> Iterator[Cell]:
    """Yield the usable cells of one crystal; ``refused`` takes the others."""
    for domain, options in domains:
        for cell in domain.cells(options, crystal):
            why = cell if isinstance(cell, Refused) else _broken(cell, crystal, rules)
            if why is None:
                yield cell
            else:
                key = f"{crystal.structure_id}:{why.variant}"
                refused.append((key, Rejected(crystal.structure_id, why.reason, why.detail)))


def _broken(cell: Cell, crystal: Crystal, rules: Rules) -> Refused | None:
    """Return why a cell cannot be used: what a domain makes of a sound crystal need not be sound."""
    if cell.domain == "bulk":
        # its size has a limit of its own, and its atoms are those of the crystal
        return None
    why = rules.broken_by(
        Crystal(crystal.structure_id, cell.numbers, cell.cell, cell.positions, crystal.source)
    )
    return Refused(cell.variant, why.reason, why.detail) if why else None


def _check_lengths(cell: Cell, settings: Explore) -> None:
    """Raise a UserError if a trajectory has more steps than names of snapshots have room for."""
    own = settings.of(cell.numbers)
    for each in cell.conditions:
        steps = own.steps_of([part.length_ps for part in each.ramp], each.length_ps)
        if each.moves and steps > LAST_STEP:
            raise UserError(
                f"structures.domains, kind {cell.domain}: {each.name} of {cell.variant} has {steps} steps "
                f"with its ramps; names of snapshots allow at most {LAST_STEP}. Make them, or "
                "explore.length_ps, shorter, or explore.timestep_fs longer."
            )


def _row(crystal: Crystal, cell: Cell, batch: int) -> dict[str, Any]:
    composition = Composition(Counter(Element.from_Z(int(z)) for z in crystal.numbers))
    return {
        "structure_id": crystal.structure_id,
        "variant": cell.variant,
        "domain": cell.domain,
        "n_atoms": len(cell.numbers),
        "numbers": cell.numbers,
        "cell_A": cell.cell.reshape(-1),
        "positions_A": cell.positions.reshape(-1),
        "formula": composition.reduced_formula,
        "conditions": [condition.as_row() for condition in cell.conditions],
        "batch": batch,
        "warnings": list(crystal.warnings),
        "source": crystal.source,
        "code_version": __version__,
    }
