"""Weights of matgl models in a folder: checksum and loading."""

import hashlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from pesatlas.errors import UserError

log = logging.getLogger(__name__)

MODEL_FILES = ("model.json", "model.pt", "state.pt")
"""Files that matgl saves of a model."""


def missing_files(folder: Path) -> list[str]:
    """Names of the model's files that are not in ``folder``."""
    return [name for name in MODEL_FILES if not (folder / name).is_file()]


def directory_sha256(folder: Path) -> str:
    """Checksum of the weights in ``folder``, by ``sha256sum model.json model.pt state.pt | sha256sum``.

    Raises
    ------
    UserError
        If a file is missing.
    """
    missing = missing_files(folder)
    if missing:
        raise UserError(
            f"{folder}: no {', no '.join(missing)}. A folder of matgl weights holds "
            f"{', '.join(MODEL_FILES)}; point `path` to one."
        )
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in MODEL_FILES]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_matgl(folder: Path, *, older_convention: bool = False, sha256: str | None = None) -> Any:
    """Load a model that matgl saved, potential or property model, onto the CPU.

    Parameters
    ----------
    folder : Path
        Holds model.json, model.pt and state.pt.
    older_convention : bool The weights were trained when matgl summed messages on the destination of an edge
        (before 2.2): restore that.
    sha256 : str, optional
        What ``directory_sha256`` must give.

    Raises
    ------
    UserError
        If files are missing, the checksum differs, or the weights do not fit what matgl makes of them.
    """
    found = directory_sha256(folder)
    if sha256 is not None and found != sha256.lower():
        raise UserError(
            f"{folder}: these are not the weights of the configuration: their sha256 is {found}, not "
            f"{sha256}. Put the right weights there, or, if these are intended, check their convention and "
            "write the new checksum."
        )
    import matgl.apps.pes  # noqa: PLC0415 - heavy
    import matgl.models  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from matgl.data.transformer import Normalizer  # noqa: PLC0415
    from matgl.models import _tensornet  # noqa: PLC0415

    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    classes = {
        "Potential": matgl.apps.pes.Potential,
        **{name: getattr(matgl.models, name) for name in matgl.models.__all__},
    }
    kind = description.get("@class")
    if kind not in classes:
        raise UserError(f"{folder}: model.json describes a '{kind}', which this matgl does not have.")
    try:
        state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
        # Set2Set holds its LSTM itself since matgl 2.
        state = {key.replace(".set2set.lstm.", ".lstm."): value for key, value in state.items()}
        if older_convention or not _tensornet._warp_available:  # noqa: SLF001 - see _plain_layers
            state = _split_projections(state)
        renamed = io.BytesIO()
        torch.save(state, renamed)
        renamed.seek(0)
        files = {"model.json": folder / "model.json", "model.pt": folder / "model.pt", "state.pt": renamed}
        with torch.serialization.safe_globals([Normalizer]), warnings.catch_warnings():
            # matgl warns of every older version and advises to clear its cache; whether weights fit is for
            # the gate to find.
            warnings.filterwarnings("ignore", message="Incompatible model version")
            with _plain_layers() if older_convention else nullcontext():
                model = classes[kind].load(files)
    except Exception as error:
        raise UserError(
            f"{folder}: matgl cannot load these weights: {error}. Use a version of the model made for matgl "
            "4."
        ) from error
    if older_convention:
        _restore(model, description, folder)
    return model.eval()


def _split_projections(state: dict[str, Any]) -> dict[str, Any]:
    """Give plain layers the three projections that those of nvalchemi-toolkit-ops save as one."""
    found: dict[str, Any] = {}
    for key, value in state.items():
        before, joint, after = key.partition(".distance_proj.")
        if joint:
            parts = value.chunk(3)
            found.update({f"{before}.distance_proj{i}.{after}": part for i, part in enumerate(parts, 1)})
        else:
            found[key] = value
    return found


@contextmanager
def _plain_layers() -> Iterator[None]:
    """Make matgl build its plain layers, whose sums can be restored.

    Where nvalchemi-toolkit-ops is installed, it builds others, which sum inside a kernel. A model keeps the
    layers that it was built with.
    """
    from matgl.models import _tensornet  # noqa: PLC0415 - heavy

    # the option use_warp would have to be in the files of the weights
    fast = _tensornet._warp_available  # noqa: SLF001
    _tensornet._warp_available = False  # noqa: SLF001
    try:
        yield
    finally:
        _tensornet._warp_available = fast  # noqa: SLF001


def _restore(model: Any, description: dict[str, Any], folder: Path) -> None:
    from pesatlas.potentials.legacy_matgl import restore_older_convention  # noqa: PLC0415 - heavy

    inner = description.get("kwargs", {}).get("model", {})
    changed = restore_older_convention(model, from_dgl="dgl" in f"{inner.get('@module', '')}")
    if not changed:
        raise UserError(
            f"{folder}: older_convention is for M3GNet and TensorNet, not for {type(model).__name__}. "
            "Remove it."
        )
    log.info("%s: older message-passing convention restored in %d layers", folder.name, changed)
