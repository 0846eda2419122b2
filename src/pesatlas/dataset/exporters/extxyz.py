"""Extended XYZ as ASE writes it: energy, forces, stress (eV/Å³, tension positive) in a calculator."""

from pathlib import Path

from pesatlas.dataset.convert import text_info, to_ase
from pesatlas.dataset.rows import Source


def export(source: Source, folder: Path) -> list[Path]:
    """Write one ``.extxyz`` with every row; its split is in ``info``. Return it."""
    from ase.io.extxyz import write_extxyz  # noqa: PLC0415 - slow to import

    path = folder / f"{source.stem}.extxyz"
    with path.open("w", encoding="utf-8") as file:
        for row in source.rows():
            atoms = to_ase(row)
            atoms.info = text_info(row)
            write_extxyz(file, [atoms])
    return [path]
