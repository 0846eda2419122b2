"""Every table of a campaign: columns, types, units, meaning. The contract between stages.

Units: Å, eV, eV/Å, fs, K; pressures given by users in GPa. Stress is ASE's: eV/Å³, tension positive, Voigt order
xx yy zz yz xz xy. Cells are nine numbers, the rows are lattice vectors. Positions are Cartesian.
"""

from enum import StrEnum

import pyarrow as pa

SCHEMA_VERSION = 2


class FailureReason(StrEnum):
    """Why something did not become a row. One word each, the same everywhere."""

    # structures
    UNREADABLE = "unreadable"
    DISORDERED = "disordered"
    OVERLAPPING = "overlapping_atoms"
    DUPLICATE = "duplicate"
    UNSUPPORTED_ELEMENT = "unsupported_element"
    NOT_PERIODIC = "not_periodic"
    TOO_MANY_ATOMS = "too_many_atoms"
    BAD_ID = "bad_id"
    # explore
    EXPLODED_VOLUME = "exploded_volume"
    EXPLODED_DISTANCE = "exploded_distance"
    EXPLODED_TEMPERATURE = "exploded_temperature"
    NOT_FINITE = "not_finite"
    # explore and label
    OUT_OF_MEMORY = "out_of_memory"
    # label
    NOT_CONVERGED = "not_converged"
    MISSING_PSEUDOPOTENTIAL = "missing_pseudopotential"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    BAD_OUTPUT = "bad_output"
    WRONG_STRUCTURE = "wrong_structure"
    WRONG_LEVEL = "wrong_level"
    # dataset
    QUARANTINED = "quarantined"
    MISSING_REFERENCE_ATOM = "missing_reference_atom"


def _field(name: str, kind: pa.DataType, description: str, unit: str = "", *, null: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=null, metadata={"description": description, "unit": unit})


f8, f4, i8, i4, text, flag = pa.float64(), pa.float32(), pa.int64(), pa.int32(), pa.string(), pa.bool_()

KEY = [
    _field("structure_id", text, "the source crystal, e.g. mp-149"),
    _field("variant", text, "unit, or supercell-AxBxC"),
    _field("domain", text, "where on the surface this lies: bulk, strained, ..."),
]
GEOMETRY = [
    _field("n_atoms", i4, "number of atoms"),
    _field("numbers", pa.list_(pa.uint8()), "atomic numbers"),
    _field("cell_A", pa.list_(f8, 9), "lattice vectors as rows", "Å"),
    _field("positions_A", pa.list_(f8), "Cartesian positions, 3n numbers, atom by atom", "Å"),
]
SOURCE = [
    _field("source", text, "where the crystal came from: kind of source and its version"),
    _field("code_version", text, "version of pesatlas that wrote the row"),
]
FRAME = [
    _field("snapshot_id", text, "structure:variant:condition:step"),
    *KEY,
    _field("condition", text, "name of the thermodynamic condition; equilibrium for the crystal as given"),
    _field("ensemble", text, "NpT, or none for the crystal as given"),
    _field("temperature_K", f8, "target temperature", "K"),
    _field("pressure_GPa", f8, "target pressure", "GPa"),
    _field("step", i8, "MD step of the frame"),
]
POTENTIAL = [
    _field("potential", text, "potential that drove the dynamics: kind and name"),
    _field("potential_hash", text, "sha256 of its weights"),
]

_STRUCTURES = [
    *KEY,
    *GEOMETRY,
    _field("formula", text, "reduced formula"),
    _field(
        "conditions",
        pa.list_(
            pa.struct(
                [
                    pa.field("condition", text),
                    pa.field("temperature_K", f8),
                    pa.field("pressure_GPa", f8),
                ]
            )
        ),
        "thermodynamic conditions to explore this cell at",
    ),
    _field("batch", i4, "explore batch"),
    *SOURCE,
]

_SNAPSHOTS = [
    *FRAME,
    *GEOMETRY,
    _field("time_fs", f8, "time since the start of the trajectory", "fs"),
    _field(
        "instant_temperature_K",
        f8,
        "kinetic temperature of the frame; null without kinetic degrees of freedom",
        "K",
        null=True,
    ),
    _field(
        "mlip_energy_eV", f8, "total energy by the potential; null for frames of a dataset", "eV", null=True
    ),
    _field(
        "mlip_stress_eV_per_A3",
        pa.list_(f8, 6),
        "stress by the potential, virial part, tension positive; null as above",
        "eV/Å³",
        null=True,
    ),
    _field(
        "mlip_max_force_eV_per_A",
        f8,
        "largest force on an atom by the potential; null as above",
        "eV/Å",
        null=True,
    ),
    _field("min_distance_A", f8, "shortest interatomic distance, periodic images included", "Å"),
    *POTENTIAL,
    *SOURCE,
]

_FEATURES = [
    _field("snapshot_id", text, "frame that is described"),
    _field("n_atoms", i4, "number of atoms"),
    _field("structure_features", pa.list_(pa.float16()), "feature vector of the structure"),
    _field("atom_features", pa.list_(pa.float16()), "feature vectors of the atoms, one after the other"),
]

_CLUSTERS = [
    _field("snapshot_id", text, "frame that was assigned"),
    _field("structure_cluster", i4, "cluster of its structure features; -1 if its features are not finite"),
    _field(
        "atom_clusters",
        pa.list_(i4),
        "cluster of each atom, numbered through the whole campaign; -1 as above",
    ),
    _field("structure_pcs", pa.list_(f4), "weighted principal components of its structure features"),
    _field(
        "centre_distance",
        f8,
        "distance to the centre of the structure cluster in weighted PCs; NaN without a cluster",
    ),
]

_CANDIDATES = [
    _field("snapshot_id", text, "frame that may be picked"),
    _field("structure_id", text, "the source crystal"),
    _field("domain", text, "where on the surface this lies"),
    _field("equilibrium", flag, "whether it is the crystal as given"),
    _field("n_atoms", i4, "number of atoms"),
    _field("geometry", pa.binary(16), "hash of atoms, cell and positions"),
    _field("structure_cluster", i4, "cluster of its structure features"),
    _field("atom_clusters", pa.list_(i4), "clusters of its atoms, each once, sorted"),
    _field("structure_pcs", pa.list_(f4), "weighted principal components of its structure features"),
    _field("centre_distance", f8, "distance to the centre of the structure cluster in weighted PCs"),
    _field("shard", text, "file name of its table of snapshots"),
    _field("row", i8, "row of that table"),
]

_QUALITY = [
    _field("of", text, "picks: those of the selection, in their order; random: as many drawn by lot"),
    _field("picks", i8, "how many of them"),
    _field("cost_atoms3", f8, "sum of the cube of their numbers of atoms: what DFT costs, but for a factor"),
    *[
        field
        for what in ("structures", "atoms")
        for field in (
            _field(f"fill_mean_{what}", f8, "mean distance to the nearest pick in weighted PCs", null=True),
            _field(f"fill_p99_{what}", f8, "99th percentile of the same", null=True),
            _field(f"fill_max_{what}", f8, "largest of the same", null=True),
            _field(f"coverage_{what}", f8, "share of occupied bins of each PC that picks occupy", null=True),
        )
    ],
    _field(
        "gain_per_1000_labels",
        f8,
        "share by which fill_mean_atoms would fall with a thousand more labels, at the pace since the row above",
        null=True,
    ),
]

_SELECTION = [
    *FRAME,
    *GEOMETRY,
    _field("policy", text, "selection policy"),
    _field("reason", text, "why it was picked, in words"),
    _field("structure_cluster", i4, "cluster of its structure features"),
    _field("atom_clusters", i4, "atomic clusters for which it was picked"),
    _field("novelty", f8, "distance to the nearest earlier pick in weighted structure PCs"),
    _field("rank", i8, "order of picking; cut at the target"),
    _field("batch", i4, "label batch"),
    _field(
        "mlip_energy_eV", f8, "total energy by the potential; null for frames of a dataset", "eV", null=True
    ),
    *POTENTIAL,
    *SOURCE,
]

_RESULT = [
    _field(
        "level", text, "reference level: pbe, r2scan, or mlip for labels of a potential, which are not DFT"
    ),
    _field("level_fingerprint", text, "hash of everything that defines the level"),
    _field("energy_eV", f8, "total energy extrapolated to zero smearing, never corrected", "eV"),
    _field("free_energy_eV", f8, "total free energy, the one forces derive from", "eV"),
    _field("forces_eV_per_A", pa.list_(f8), "forces, 3n numbers, atom by atom", "eV/Å"),
    _field("stress_eV_per_A3", pa.list_(f8, 6), "stress, tension positive, Voigt xx yy zz yz xz xy", "eV/Å³"),
    _field(
        "magmoms_muB",
        pa.list_(f8),
        "final magnetic moments; null for a calculation without spin",
        "μB",
        null=True,
    ),
    _field(
        "band_gap_eV", f8, "Kohn-Sham gap on the k-points of the calculation, 0 for a metal", "eV", null=True
    ),
    _field("scf_steps", i4, "SCF iterations; 0 for a potential"),
    _field(
        "converged",
        flag,
        "what this attempt's own output says of its electronic convergence; of a potential: that it was evaluated",
    ),
    _field("corrections", text, "corrections applied on the way, as JSON"),
    _field("code", text, "code and version"),
    _field(
        "pseudopotentials",
        text,
        "hash of the pseudopotential of each element, or of a potential's weights, as JSON",
    ),
    _field("settings", text, "settings of this calculation in full, as JSON"),
    _field("wall_s", f8, "wall time of the calculation", "s"),
]

_LABELS = [
    *FRAME,
    *GEOMETRY,
    *_RESULT,
    _field(
        "verdict", text, "accepted, or quarantined by the calculation itself; in the dataset: after all rules"
    ),
    _field("verdict_rules", text, "rules that spoke, as JSON"),
    _field("label_key", text, "content key: geometry and level"),
    *POTENTIAL,
    *SOURCE,
]

_ATOMS = [
    _field("element", text, "chemical symbol"),
    *_RESULT,
    _field("label_key", text, "content key: element, box and level"),
    _field("code_version", text, "version of pesatlas that wrote the row"),
]

_DATASET = [
    *_LABELS,
    _field(
        "cohesive_energy_eV_per_atom",
        f8,
        "energy_eV less isolated atoms at the same level, per atom; negative is bound",
        "eV/atom",
        null=True,
    ),
    _field(
        "formation_energy_eV_per_atom",
        f8,
        "energy_eV less the crystals of its elements in this campaign at the same level, per atom; for crystals as given only",
        "eV/atom",
        null=True,
    ),
    _field("abs_forces_eV_per_A", pa.list_(f8), "length of the force on each atom", "eV/Å"),
    _field("max_force_eV_per_A", f8, "largest force on an atom", "eV/Å"),
    _field("net_force_eV_per_A", f8, "length of the sum of all forces", "eV/Å"),
    _field(
        "static_pressure_GPa", f8, "pressure of the label: minus a third of the trace of its stress", "GPa"
    ),
    _field("max_stress_GPa", f8, "largest component of the stress, without its sign", "GPa"),
    _field(
        "stress_asymmetry_GPa",
        f8,
        "largest change of a component of the stress under the crystal's symmetry",
        "GPa",
    ),
    _field("entropy_eV_per_atom", f8, "T·S of the electrons: twice energy_eV less free_energy_eV", "eV/atom"),
    _field(
        "level_gap_eV_per_atom",
        f8,
        "cohesive energy at the second level less that at the first, less the median of the dataset",
        "eV/atom",
        null=True,
    ),
    _field("min_distance_A", f8, "shortest interatomic distance, periodic images included", "Å"),
    _field("space_group", i4, "number of the space group at 1e-3 Å; 0 if none was found"),
    _field("space_group_symbol", text, "its international symbol"),
    _field("formula", text, "reduced formula, elements in alphabetical order"),
    _field("chemical_system", text, "elements in alphabetical order, e.g. Cl-Na"),
    _field("material_group", text, "kind of compound by its anion: oxide, halide, intermetallic, ..."),
    _field(
        "split", text, "train, valid or test; by structure_id or chemical_system, the same for every level"
    ),
]

_PARITY = [
    _field("snapshot_id", text, "row of the dataset that the potential was asked about"),
    _field("structure_id", text, "the source crystal"),
    _field("domain", text, "where on the surface this lies"),
    _field("n_atoms", i4, "number of atoms"),
    _field("numbers", pa.list_(pa.uint8()), "atomic numbers"),
    _field("mlip_energy_eV", f8, "total energy by the potential; null with a reason", "eV", null=True),
    _field(
        "mlip_forces_eV_per_A",
        pa.list_(f8),
        "forces by the potential, 3n numbers, atom by atom; null as above",
        "eV/Å",
        null=True,
    ),
    _field(
        "mlip_stress_eV_per_A3",
        pa.list_(f8, 6),
        "stress by the potential, tension positive, Voigt xx yy zz yz xz xy; null as above",
        "eV/Å³",
        null=True,
    ),
    _field("reason", text, "why it could not be evaluated: an enumerated word, see FailureReason", null=True),
    *POTENTIAL,
    _field("code_version", text, "version of pesatlas that wrote the row"),
]

_IMPORTED = [
    _field("snapshot_id", text, "the row, as its dataset names it"),
    _field("structure_id", text, "the crystal it comes from, if its dataset tells; else as snapshot_id"),
    *GEOMETRY,
    _field("level", text, "what its level was called when it was imported"),
    _field("level_fingerprint", text, "of the file: no campaign's surface"),
    _field("energy_eV", f8, "total energy", "eV"),
    _field("forces_eV_per_A", pa.list_(f8), "forces, 3n numbers, atom by atom", "eV/Å"),
    _field(
        "stress_eV_per_A3",
        pa.list_(f8, 6),
        "stress, tension positive, Voigt xx yy zz yz xz xy",
        "eV/Å³",
        null=True,
    ),
    _field("magmoms_muB", pa.list_(f8), "magnetic moments, if there are any", "μB", null=True),
    _field("band_gap_eV", f8, "band gap", "eV", null=True),
    _field(
        "cohesive_energy_eV_per_atom", f8, "cohesive energy as the dataset gives it", "eV/atom", null=True
    ),
    _field(
        "formation_energy_eV_per_atom", f8, "formation energy as the dataset gives it", "eV/atom", null=True
    ),
    _field("formula", text, "reduced formula, elements in alphabetical order"),
    _field("chemical_system", text, "elements in alphabetical order, e.g. Cl-Na"),
    _field("material_group", text, "kind of compound by its anion: oxide, halide, intermetallic, ..."),
    _field("split", text, "split, if the dataset tells", null=True),
    *SOURCE,
]

_HISTORY = [
    _field("level", text, "reference level of the labels that it is trained on"),
    _field("seed", i8, "which potential of the committee"),
    _field("weights_hash", text, "sha256 of the weights that came of it"),
    _field("epoch", i4, "how many times every row had been seen, less one"),
    _field("step", i8, "steps of the optimizer so far"),
    _field("learning_rate", f8, "of the last of them"),
    _field("train_loss", f8, "loss over the split train, while weights changed"),
    _field("valid_loss", f8, "loss over the split valid after the epoch; null without rows", null=True),
    *[
        _field(
            f"{split}_{name}", f8, f"mean absolute error of {what}, split {split}, as above", unit, null=True
        )
        for split in ("train", "valid")
        for name, what, unit in (
            ("energy_mae_meV_per_atom", "energies", "meV/atom"),
            ("force_mae_meV_per_A", "force components", "meV/Å"),
            ("stress_mae_GPa", "stress components", "GPa"),
            ("magmom_mae_muB", "magnetic moments without their sign", "μB"),
        )
    ],
    _field(
        "best", flag, "whether no epoch before had a smaller loss: weights of the last such epoch are kept"
    ),
    _field("wall_s", f8, "wall time so far", "s"),
]

_OF_ARM = [
    _field("arm", text, "selection policy"),
    _field("cost_share", f8, "share of the full cost that it might spend"),
]

_ARMS = [
    _field("arm", text, "selection policy that picked the frame; test for frames that all are judged on"),
    _field("snapshot_id", text, "the frame, as table selection has it"),
    _field("rank", i8, "order of picking within the arm"),
    _field("cost_atoms3", f8, "cube of the number of atoms, summed over the arm up to this frame"),
]

_ERRORS = [
    _field("energy_mae_meV_per_atom", f8, "mean absolute error of energies", "meV/atom"),
    _field("force_mae_meV_per_A", f8, "mean absolute error of force components", "meV/Å"),
    _field("stress_mae_GPa", f8, "mean absolute error of stress components", "GPa"),
]

_ARM_ERRORS = [
    *_OF_ARM,
    _field("seed", i8, "seed of its training"),
    _field("level", text, "reference level of the labels"),
    _field("snapshot_id", text, "frame of the test that it was asked about"),
    _field("structure_id", text, "the held-out crystal"),
    _field("equilibrium", flag, "whether it is the crystal as given"),
    _field("n_atoms", i4, "number of atoms"),
    *_ERRORS,
]

_COMPARISON = [
    *_OF_ARM,
    _field("seed", i8, "seed of its training"),
    _field("level", text, "reference level of the labels"),
    _field("frames", text, "which frames of the test: dynamics, or equilibrium (crystals as given)"),
    _field("cost_atoms3", f8, "cost of its picks: the cube of their numbers of atoms, summed"),
    _field("picks", i8, "how many of them"),
    _field("test_frames", i8, "frames that it is judged on, the same for all"),
    _field("test_materials", i8, "held-out crystals that they are of"),
    *_ERRORS,
]

_CONTRASTS = [
    *_OF_ARM,
    _field("level", text, "reference level of the labels"),
    _field("frames", text, "which frames of the test: dynamics, or equilibrium (crystals as given)"),
    _field("error", text, "which error: a column of table comparison"),
    _field("cost_atoms3", f8, "cost of its picks: the cube of their numbers of atoms, summed"),
    _field("mean", f8, "mean over seeds, in the unit of the error"),
    _field("low", f8, "lower end of its 95 % interval, over seeds and held-out materials"),
    _field("high", f8, "upper end of the same"),
    _field("reference", text, "what it is held against: the first policy at the largest share"),
    _field("ratio", f8, "mean over that of the reference"),
    _field("ratio_low", f8, "lower end of its 95 % interval, paired by held-out material"),
    _field("ratio_high", f8, "upper end of the same"),
    _field(
        "verdict",
        text,
        "lower or higher than the reference, if the interval leaves out 1; else, and with fewer than 5 materials, undecided",
    ),
]

_FAILURES = [
    _field("stage", text, "stage that failed"),
    _field("key", text, "what failed: structure_id, trajectory or snapshot_id"),
    _field("structure_id", text, "the source crystal"),
    _field("level", text, "reference level, if it was a label", null=True),
    _field("reason", text, "an enumerated word, see FailureReason"),
    _field("detail", text, "what happened, in a sentence"),
    _field("attempts", i4, "attempts made"),
    _field("code_version", text, "version of pesatlas that wrote the row"),
]

SCHEMAS: dict[str, pa.Schema] = {
    "structures": pa.schema(_STRUCTURES),
    "snapshots": pa.schema(_SNAPSHOTS),
    "features": pa.schema(_FEATURES),
    "clusters": pa.schema(_CLUSTERS),
    "candidates": pa.schema(_CANDIDATES),
    "selection": pa.schema(_SELECTION),
    "quality": pa.schema(_QUALITY),
    "labels": pa.schema(_LABELS),
    "atoms": pa.schema(_ATOMS),
    "dataset": pa.schema(_DATASET),
    "parity": pa.schema(_PARITY),
    "imported": pa.schema(_IMPORTED),
    "history": pa.schema(_HISTORY),
    "arms": pa.schema(_ARMS),
    "arm_errors": pa.schema(_ARM_ERRORS),
    "comparison": pa.schema(_COMPARISON),
    "contrasts": pa.schema(_CONTRASTS),
    "failures": pa.schema(_FAILURES),
}
