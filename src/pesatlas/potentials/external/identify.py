"""Identity of a potential in another environment: checksum, versions, elements, licence."""

import hashlib
from functools import cache
from pathlib import Path

from pesatlas.errors import UserError
from pesatlas.potentials.external.client import Client, Described
from pesatlas.potentials.external.options import WorkerOptions, check_worker
from pesatlas.potentials.identity import Identity
from pesatlas.tables.manifest import sha256_of


@cache
def described(options: WorkerOptions) -> Described:
    """Versions, checksum and licence of the installed package, asked once in a process."""
    check_worker(options)
    return Client(options, "cpu").describe()


def identity_of(options: WorkerOptions) -> Identity:
    """Return what the potential is, without loading it.

    Raises
    ------
    UserError
        If its environment, its package or its weights are not there.
    """
    about = described(options)
    return Identity(options.label, weights_hash(options, about), about.versions)


def weights_hash(options: WorkerOptions, about: Described) -> str:
    """Checksum of the weights.

    That of the file; of several, that of their checksums in order; of none, that of the installed package.
    """
    sums = [sha256_of(path.expanduser()) for path in options.weights]
    if not sums:
        return about.checksum
    return sums[0] if len(sums) == 1 else hashlib.sha256("\n".join(sums).encode()).hexdigest()


def licence_of(options: WorkerOptions) -> str:
    """Return the licence of the weights as configured, or that of the package; or that none is stated."""
    return options.licence or described(options).licence or "not stated"


@cache
def known_elements(options: WorkerOptions) -> frozenset[int]:
    """Atomic numbers that the configuration states, else those that the calculator names when it is loaded.

    Raises
    ------
    UserError
        If neither does.
    """
    if options.stated_elements is not None:
        return options.stated_elements
    check_worker(options)
    client = Client(options, "cpu")
    try:
        return elements_of_loaded(options, client)
    finally:
        client.end()


def elements_of_loaded(options: WorkerOptions, client: Client) -> frozenset[int]:
    """Atomic numbers of a loaded worker.

    Raises
    ------
    UserError
        If nobody names them, if some that the configuration states are unknown to the calculator, or if the
        loader read weights that no checksum covers.
    """
    told = client.loaded
    stated, found = options.stated_elements, frozenset(told["elements"] or ())
    if stated is None and not found:
        raise UserError(
            f"{client.who} does not say which elements it knows. State them: `elements: [H, C, ...]`, in the "
            "options of this potential or encoder."
        )
    if stated is not None and found and not stated <= found:
        raise UserError(
            f"elements: {client.who} does not know the atomic numbers {sorted(stated - found)}. Remove them."
        )
    named = {str(path.expanduser().resolve()) for path in options.weights}
    unnamed = [path for path in told["read"] if str(Path(path).resolve()) not in named]
    if unnamed:
        raise UserError(
            f"{client.who} read {', '.join(unnamed[:3])}, which no checksum covers. If weights are in it, "
            f"name it: `weights: {unnamed[0]}`; every row then has its checksum."
        )
    return stated or found
