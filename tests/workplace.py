"""A place for one calculation to run, as a label job makes it."""

from pesatlas.label.interface import Workplace


def workplace(folder, timeout_s=120.0, **about):
    """Return a ``Workplace`` with its three folders below ``folder``, which are made."""
    folders = [folder / name for name in ("scratch", "keep", "handover")]
    for path in folders:
        path.mkdir(parents=True, exist_ok=True)
    return Workplace(*folders, timeout_s, **about)
