"""Tables of checks: convergence series of a level, validations of a potential."""

import pyarrow as pa

from pesatlas.tables.columns import column, f8, flag, i4, i8, text

_CONVERGENCE = [
    column("snapshot_id", text, "structure of the series, as its campaign or its file names it"),
    column("structure_id", text, "the source crystal"),
    column("formula", text, "reduced formula, elements in alphabetical order"),
    column("n_atoms", i4, "number of atoms"),
    column("level", text, "level whose convergence is measured"),
    column("series", text, "setting that varies: cutoff or kpoints; the other is that of the level"),
    column("cutoff_eV", f8, "plane-wave cut-off", "eV"),
    column("kpoint_spacing_per_A", f8, "largest distance of neighbouring k-points, with 2π", "1/Å"),
    column("kpoints", pa.list_(i4, 3), "mesh that follows from it for the cell"),
    column("is_level", flag, "whether these are the level's own settings"),
    column("is_densest", flag, "whether changes are measured from this point"),
    column(
        "level_fingerprint", text, "of the level with these settings; the point's label has it in the store"
    ),
    column("energy_eV", f8, "total energy; null with a reason", "eV", null=True),
    column("energy_change_meV_per_atom", f8, "energy less that of the densest point", "meV/atom", null=True),
    column(
        "force_change_meV_per_A",
        f8,
        "largest difference of a force component from the densest point",
        "meV/Å",
        null=True,
    ),
    column(
        "stress_change_GPa",
        f8,
        "largest difference of a stress component from the densest point",
        "GPa",
        null=True,
    ),
    column(
        "relative_energy_change_meV_per_atom",
        f8,
        "energy_change_meV_per_atom less that of the first structure of the same formula at the same point; "
        "null for that one",
        "meV/atom",
        null=True,
    ),
    column("wall_s", f8, "wall time of the calculation", "s", null=True),
    column("reason", text, "why there is no value: an enumerated word, see FailureReason", null=True),
    column("detail", text, "the same, in a sentence", null=True),
    column("code_version", text, "version of pesatlas that wrote the row"),
]

_ERRORS = [
    column("force_mae_meV_per_A", f8, "mean absolute error of force components", "meV/Å", null=True),
    column("force_rmse_meV_per_A", f8, "root mean square of the same", "meV/Å", null=True),
    column("stress_mae_GPa", f8, "mean absolute error of stress components", "GPa", null=True),
    column(
        "force_slope",
        f8,
        "least squares through the origin, forces of the potential against labels; null if those are noise",
        null=True,
    ),
]

_VALIDATION = [
    column("snapshot_id", text, "chosen frame: NAME:given:given:NUMBER, numbered through all files"),
    column("structure_id", text, "as its file names it"),
    column("file", text, "file that it is from"),
    column("place", i8, "place in that file, from 0"),
    column("condition", text, "temperature and pressure if its file has them, else its part of the file"),
    column("formula", text, "reduced formula, elements in alphabetical order"),
    column("n_atoms", i4, "number of atoms"),
    column("numbers", pa.list_(pa.uint8()), "atomic numbers"),
    column("potential", text, "name of the validated potential"),
    column("potential_hash", text, "sha256 of its weights"),
    column("level", text, "reference level of the labels"),
    column("level_fingerprint", text, "fingerprint of that level"),
    column("energy_eV", f8, "total energy of the label; null with a reason", "eV", null=True),
    column("mlip_energy_eV", f8, "total energy by the potential", "eV", null=True),
    column(
        "energy_error_meV_per_atom",
        f8,
        "energy by the potential less that of the label, less the shift between their zeros",
        "meV/atom",
        null=True,
    ),
    *_ERRORS,
    column("wall_s", f8, "wall time of the label", "s", null=True),
    column("reason", text, "why there are no errors: an enumerated word, see FailureReason", null=True),
    column("detail", text, "the same, in a sentence", null=True),
    column("code_version", text, "version of pesatlas that wrote the row"),
]

_VALIDATION_SUMMARY = [
    column("of", text, "all, element or condition"),
    column("name", text, "which one; empty for all"),
    column("quantity", text, "energy_mae, force_mae, force_rmse, stress_mae or force_slope"),
    column("unit", text, "unit of the value"),
    column("frames", i8, "frames that it is measured on"),
    column("value", f8, "its value; null without a frame", null=True),
    column(
        "low", f8, "lower end of its 95 % interval, by bootstrap over frames; null for one frame", null=True
    ),
    column("high", f8, "upper end", null=True),
    column("limit", f8, "largest value that is good enough; of a slope, largest distance from 1", null=True),
    column("verdict", text, "within the limit, beyond it, or undecided; empty without a limit"),
]

OF_CHECKS: dict[str, pa.Schema] = {
    "convergence": pa.schema(_CONVERGENCE),
    "validation": pa.schema(_VALIDATION),
    "validation_summary": pa.schema(_VALIDATION_SUMMARY),
}
