"""Column types, and columns that several tables share."""

import pyarrow as pa


def column(name: str, kind: pa.DataType, description: str, unit: str = "", *, null: bool = False) -> pa.Field:
    """Return a column: its unit and what it is go into the file, beside its type."""
    return pa.field(name, kind, nullable=null, metadata={"description": description, "unit": unit})


f8, f4, i8, i4, text, flag = pa.float64(), pa.float32(), pa.int64(), pa.int32(), pa.string(), pa.bool_()

KEY = [
    column("structure_id", text, "the source crystal, e.g. mp-149"),
    column("variant", text, "unit, supercell-AxBxC, or a name that begins with its domain"),
    column("domain", text, "region of the PES: bulk, strained, ..."),
]
GEOMETRY = [
    column("n_atoms", i4, "number of atoms"),
    column("numbers", pa.list_(pa.uint8()), "atomic numbers"),
    column("cell_A", pa.list_(f8, 9), "lattice vectors as rows", "Å"),
    column("positions_A", pa.list_(f8), "Cartesian positions, 3n numbers, atom by atom", "Å"),
]
SOURCE = [
    column("source", text, "where the crystal came from: kind of source and its version"),
    column("code_version", text, "version of pesatlas that wrote the row"),
]
FRAME = [
    column("snapshot_id", text, "structure:variant:condition:step"),
    *KEY,
    column("condition", text, "name of the thermodynamic condition; equilibrium for the crystal as given"),
    column(
        "ensemble",
        text,
        "NpT; NpT-isotropic, NpT-in_plane or NVT where the barostat moves less; none without dynamics",
    ),
    column("temperature_K", f8, "target temperature, of a ramp that of the moment", "K"),
    column("pressure_GPa", f8, "target pressure", "GPa"),
    column("step", i8, "MD step of the frame"),
]
POTENTIAL = [
    column("potential", text, "potential that drove the dynamics: kind and name"),
    column("potential_hash", text, "sha256 of its weights"),
]
