"""Load the potential of a configured kind."""

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from pesatlas.config.plugins import find
from pesatlas.config.section import digest
from pesatlas.errors import UserError
from pesatlas.potentials.identity import Identity, TrainedOn
from pesatlas.tables.schemas import MADE_BY

if TYPE_CHECKING:
    # imports torch, which a configuration must not: the backend mlip imports this module
    from pesatlas.potentials.potential import Potential

log = logging.getLogger(__name__)

POTENTIALS = "pesatlas.potentials.kinds"

_passed: set[str] = set()
"""Potentials that this process has seen pass the gate."""


def load_potential(options: Any, device: str, *, gate: bool = True) -> "Potential":
    """Load the potential of ``options`` onto ``device``, and pass it through the gate.

    Raises
    ------
    UserError
        If it cannot be loaded, or is wrong about known crystals.
    """
    from pesatlas.potentials.gate import pass_gate  # noqa: PLC0415 - imports torch

    start = time.perf_counter()
    potential: Potential = find(POTENTIALS, options.kind).load(options, device)
    key = digest(options.identity(), potential.weights_hash)
    if gate and key not in _passed:
        pass_gate(potential)
        _passed.add(key)
    log.info(
        "%s on %s: %d elements, weights %s, ready after %.1f s",
        potential.name,
        device,
        len(potential.elements),
        potential.weights_hash[:12],
        time.perf_counter() - start,
    )
    return potential


def identify(options: Any) -> Identity:
    """Return what the potential of ``options`` is, without loading it.

    Raises
    ------
    UserError
        If its weights or its package are not there, or its kind cannot tell.
    """
    kind = find(POTENTIALS, options.kind)
    if not hasattr(kind, "identify"):
        raise UserError(
            f"the potential '{options.kind}' cannot label: its module {kind.__name__} has no function "
            "identify(options), which the fingerprint of its level comes from. Add one, or take another "
            "potential."
        )
    identity: Identity = kind.identify(options)
    return identity


def trained_on(options: Any) -> TrainedOn | None:
    """Return what the potential of ``options`` was trained on; None if its kind cannot tell."""
    ask = getattr(find(POTENTIALS, options.kind), "trained_on", None)
    found: TrainedOn | None = ask(options) if ask is not None else None
    return found


def fetch_potential(options: Any) -> None:
    """Fetch what the potential of ``options`` needs from a network, if its kind has a ``fetch``.

    Raises
    ------
    UserError
        If it cannot be fetched; the message says what to do.
    """
    fetch = getattr(find(POTENTIALS, options.kind), "fetch", None)
    if fetch is not None:
        fetch(options)


def provenance_of(options: Any) -> dict[str, str]:
    """Metadata for tables made with the potential of ``options``.

    Name, hash, licence and versions, as JSON; nothing for kinds without a ``licence``.
    """
    licence = getattr(find(POTENTIALS, options.kind), "licence", None)
    if licence is None:
        return {}
    known = identify(options)
    about = {
        "potential": known.name,
        "potential_hash": known.weights_hash,
        "licence": licence(options),
        "versions": known.versions,
    }
    return {MADE_BY: json.dumps(about, sort_keys=True)}


def elements_of(options: Any) -> frozenset[int]:
    """Atomic numbers that the potential of ``options`` knows, without loading it."""
    known: frozenset[int] = find(POTENTIALS, options.kind).elements(options)
    return known
