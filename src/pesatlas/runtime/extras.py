"""Optional libraries: the extra of pesatlas that installs each, and the message when one is missing."""

from importlib.util import find_spec

from pesatlas.errors import UserError

EXTRA_OF = {
    "altair": "report",
    "ase_db_backends": "export",
    "chemiscope": "report",
    "chgnet": "chgnet",
    "custodian": "vasp",
    "lightning": "train",
    "markupsafe": "report",
    "matcalc": "benchmark",
    "mp_api": "mp",
    "openpyxl": "xlsx",
    "phonopy": "benchmark",
    "pymatgen.analysis.defects": "domains",
    "pytest": "testing",
    "snakemake_executor_plugin_slurm": "slurm",
    "vl_convert": "report",
}
"""Modules that a plain installation may lack."""


def check_extra(extra: str) -> None:
    """Raise ``UserError`` with the command to type unless all libraries of ``extra`` are installed.

    None is imported.
    """
    missing = [name for name, own in EXTRA_OF.items() if own == extra and find_spec(name) is None]
    if missing:
        raise UserError(_message(" and ".join(missing), extra))


def missing_extra(error: BaseException) -> str | None:
    """Return the message for an import that failed because an extra is not installed.

    None for any other error.
    """
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    known = [name for name in EXTRA_OF if f"{error.name}.".startswith(f"{name}.")]
    return _message(known[0], EXTRA_OF[known[0]]) if known else None


def _message(names: str, extra: str) -> str:
    return f'{names}: not installed. It comes with an extra of pesatlas: pip install "pesatlas[{extra}]".'
