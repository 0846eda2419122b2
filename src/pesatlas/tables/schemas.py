"""All tables of a campaign: columns, types, units, meaning. The contract between stages.

Units: Å, eV, eV/Å, fs, K; pressures given by users in GPa. Stress is ASE's: eV/Å³, tension positive, Voigt
order xx yy zz yz xz xy. Cells are nine numbers, the rows are lattice vectors. Positions are Cartesian.
"""

from enum import StrEnum

import pyarrow as pa

from pesatlas.tables.check_tables import OF_CHECKS
from pesatlas.tables.columns import (
    FRAME,
    GEOMETRY,
    KEY,
    POTENTIAL,
    SOURCE,
    column,
    f4,
    f8,
    flag,
    i4,
    i8,
    text,
)
from pesatlas.tables.potential_tables import OF_POTENTIALS

SCHEMA_VERSION = 7

SOURCES = "pesatlas.sources"
"""Key of the table ``structures``' metadata.

Kinds of sources with their licences and how much was read, as JSON.
"""


VARIANCES = "pesatlas.structure_variances"
"""Key of the metadata of the tables ``clusters`` and ``candidates``.

Variances of all principal components of structures, largest first, as JSON.
"""

MADE_BY = "pesatlas.potential"
"""Key of the table ``snapshots``' metadata.

Name, hash, licence and versions of the potential, as JSON; for kinds that tell of them.
"""


class FailureReason(StrEnum):
    """Reasons of failures, one word each, the same everywhere."""

    # structures
    UNREADABLE = "unreadable"
    INCOMPLETE = "incomplete"
    AMBIGUOUS_SETTING = "ambiguous_setting"
    DISORDERED = "disordered"
    OVERLAPPING = "overlapping_atoms"
    DUPLICATE = "duplicate"
    UNSUPPORTED_ELEMENT = "unsupported_element"
    NOT_PERIODIC = "not_periodic"
    TOO_MANY_ATOMS = "too_many_atoms"
    BAD_ID = "bad_id"
    CHARGED = "charged"
    NOT_APPLICABLE = "not_applicable"
    POLAR = "polar_surface"
    # explore
    EXPLODED_VOLUME = "exploded_volume"
    EXPLODED_DISTANCE = "exploded_distance"
    EXPLODED_TEMPERATURE = "exploded_temperature"
    NOT_FINITE = "not_finite"
    LOST_ATOMS = "lost_atoms"
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
    NOT_STATIC = "not_static"
    # dataset
    QUARANTINED = "quarantined"
    MISSING_REFERENCE_ATOM = "missing_reference_atom"
    # benchmark
    NO_REFERENCE = "no_reference"


_STRUCTURES = [
    *KEY,
    *GEOMETRY,
    column("formula", text, "reduced formula"),
    column(
        "conditions",
        pa.list_(
            pa.struct(
                [
                    pa.field("condition", text),
                    pa.field("temperature_K", f8),
                    pa.field("pressure_GPa", f8),
                    pa.field("static", flag),
                    pa.field("path", pa.struct([pa.field("end_A", pa.list_(f8)), pa.field("images", i4)])),
                    pa.field("cell_motion", text),
                    pa.field(
                        "ramp",
                        pa.list_(
                            pa.struct(
                                [pa.field("start_K", f8), pa.field("end_K", f8), pa.field("length_ps", f8)]
                            )
                        ),
                    ),
                    pa.field("length_ps", f8),
                    pa.field("compressibility_per_GPa", f8),
                    pa.field("max_volume_ratio", f8),
                    pa.field("max_temperature_factor", f8),
                    pa.field("min_distance_A", f8),
                ]
            )
        ),
        "thermodynamic conditions to explore this cell at; what is null is as section explore says",
    ),
    column("batch", i4, "explore batch"),
    column(
        "warnings",
        pa.list_(text),
        "doubts about the crystal, of the library that read its file and of our own checks, each with the "
        "file's name",
    ),
    *SOURCE,
]

_SNAPSHOTS = [
    *FRAME,
    *GEOMETRY,
    column("time_fs", f8, "time since the start of the trajectory", "fs"),
    column(
        "instant_temperature_K",
        f8,
        "kinetic temperature of the frame; null without kinetic degrees of freedom",
        "K",
        null=True,
    ),
    column(
        "mlip_energy_eV", f8, "total energy by the potential; null for frames of a dataset", "eV", null=True
    ),
    column(
        "mlip_stress_eV_per_A3",
        pa.list_(f8, 6),
        "stress by the potential, virial part, tension positive; null as above",
        "eV/Å³",
        null=True,
    ),
    column(
        "mlip_max_force_eV_per_A",
        f8,
        "largest force on an atom by the potential; null as above",
        "eV/Å",
        null=True,
    ),
    column("min_distance_A", f8, "shortest interatomic distance, periodic images included", "Å"),
    column(
        "lindemann",
        f8,
        "root mean square displacement of the atoms since the start, strain and drift taken out, over the "
        "shortest distance there; above 0.2 they have left their sites: it melts, or they diffuse; null "
        "without dynamics",
        null=True,
    ),
    *POTENTIAL,
    *SOURCE,
]

_FEATURES = [
    column("snapshot_id", text, "frame that is described"),
    column("n_atoms", i4, "number of atoms"),
    column("structure_features", pa.list_(pa.float16()), "feature vector of the structure"),
    column("atom_features", pa.list_(pa.float16()), "feature vectors of the atoms, one after the other"),
]

_TRAJECTORIES = [
    *KEY,
    column("condition", text, "name of the thermodynamic condition"),
    column("key", text, "key of its frames in the store"),
    column("n_atoms", i4, "number of atoms"),
    column(
        "ended",
        text,
        "survived: it has its longest length; saturated: it showed nothing new; or why it failed, see "
        "FailureReason",
    ),
    column("detail", text, "the same in a sentence"),
    column("steps", i8, "MD step of its last frame"),
    column("longest_steps", i8, "steps that it would have had at most"),
    column("length_ps", f8, "time of its last frame", "ps"),
    column("frames", i8, "number of frames"),
    column(
        "new_frames",
        i8,
        "how many of them were new when they came, or have atoms that were; the first is among them",
    ),
    column("last_new_ps", f8, "time of the last of these", "ps"),
    column("encoder", text, "encoder whose features say what is new: kind and name"),
    column("encoder_hash", text, "sha256 of its weights"),
    *POTENTIAL,
    *SOURCE,
]

_CLUSTERS = [
    column("snapshot_id", text, "frame that was assigned"),
    column("structure_cluster", i4, "cluster of its structure features; -1 if its features are not finite"),
    column(
        "atom_clusters",
        pa.list_(i4),
        "cluster of each atom, numbered through the whole campaign; -1 as above",
    ),
    column("structure_pcs", pa.list_(f4), "weighted principal components of its structure features"),
    column(
        "centre_distance",
        f8,
        "distance to the centre of the structure cluster in weighted PCs; NaN without a cluster",
    ),
]

_CANDIDATES = [
    column("snapshot_id", text, "frame that may be picked"),
    column("structure_id", text, "the source crystal"),
    column("domain", text, "region of the PES"),
    column("equilibrium", flag, "whether it is the crystal as given"),
    column("n_atoms", i4, "number of atoms"),
    column("geometry", pa.binary(16), "hash of atoms, cell and positions"),
    column("structure_cluster", i4, "cluster of its structure features"),
    column("atom_clusters", pa.list_(i4), "clusters of its atoms, each once, sorted"),
    column("structure_pcs", pa.list_(f4), "weighted principal components of its structure features"),
    column("centre_distance", f8, "distance to the centre of the structure cluster in weighted PCs"),
    column("shard", text, "file name of its table of snapshots"),
    column("row", i8, "row of that table"),
    column(
        "frames",
        i8,
        "frames of the pool that it stands for: those in its cell of a grid over the structures; null for "
        "policies without cells",
        null=True,
    ),
    column("grid_level", i4, "level of that grid, 0 the finest", null=True),
]

_QUALITY = [
    column("of", text, "picks: those of the selection, in their order; random: as many at random"),
    column("picks", i8, "how many of them"),
    column("cost_atoms3", f8, "sum of the cube of their numbers of atoms: what DFT costs, but for a factor"),
    *[
        field
        for what in ("structures", "atoms")
        for field in (
            column(
                f"fill_mean_{what}",
                f8,
                "mean distance to the nearest pick (or frame that was labelled before) in weighted PCs",
                null=True,
            ),
            column(f"fill_p99_{what}", f8, "99th percentile of the same", null=True),
            column(f"fill_max_{what}", f8, "largest of the same", null=True),
            column(f"coverage_{what}", f8, "share of occupied bins of each PC that picks occupy", null=True),
        )
    ],
    column(
        "gain_per_1000_labels",
        f8,
        "share by which fill_mean_atoms would fall with a thousand more labels, at the pace since the row "
        "above",
        null=True,
    ),
]

_SELECTION = [
    *FRAME,
    *GEOMETRY,
    column("policy", text, "selection policy"),
    column("reason", text, "why it was picked, in words"),
    column("structure_cluster", i4, "cluster of its structure features"),
    column("atom_clusters", i4, "atomic clusters for which it was picked"),
    column("novelty", f8, "distance to the nearest earlier pick in weighted structure PCs"),
    column("rank", i8, "order of picking; cut at the target"),
    column("batch", i4, "label batch"),
    column(
        "mlip_energy_eV", f8, "total energy by the potential; null for frames of a dataset", "eV", null=True
    ),
    *POTENTIAL,
    *SOURCE,
]

_RESULT = [
    column(
        "level", text, "reference level: pbe, r2scan, or mlip for labels of a potential, which are not DFT"
    ),
    column("level_fingerprint", text, "hash of everything that defines the level"),
    column("energy_eV", f8, "total energy extrapolated to zero smearing, never corrected", "eV"),
    column("free_energy_eV", f8, "total free energy, the one forces derive from", "eV"),
    column("forces_eV_per_A", pa.list_(f8), "forces, 3n numbers, atom by atom", "eV/Å"),
    column("stress_eV_per_A3", pa.list_(f8, 6), "stress, tension positive, Voigt xx yy zz yz xz xy", "eV/Å³"),
    column(
        "magmoms_muB",
        pa.list_(f8),
        "final magnetic moments; null for a calculation without spin",
        "μB",
        null=True,
    ),
    column(
        "band_gap_eV", f8, "Kohn-Sham gap on the k-points of the calculation, 0 for a metal", "eV", null=True
    ),
    column("scf_steps", i4, "SCF iterations; 0 for a potential"),
    column(
        "converged",
        flag,
        "electronic convergence in the output of this attempt; of a potential: that it was evaluated",
    ),
    column("corrections", text, "corrections applied on the way, as JSON"),
    column("code", text, "code and version"),
    column(
        "pseudopotentials",
        text,
        "hash of the pseudopotential of each element, or of a potential's weights, as JSON",
    ),
    column("settings", text, "settings of this calculation in full, as JSON"),
    column("wall_s", f8, "wall time of the calculation", "s"),
]

_CHARGES = [
    column(
        "bader_charges_e",
        pa.list_(f8),
        "valence electrons in the Bader volume of each atom, as bader_charges of MatPES: the more electrons, "
        "the larger; null unless label.charges asks for them",
        "e",
        null=True,
    ),
    column(
        "bader_net_charges_e",
        pa.list_(f8),
        "Bader charge of each atom: the valence electrons that it has alone less bader_charges_e; positive "
        "for cations",
        "e",
        null=True,
    ),
    column(
        "bader_magmoms_muB",
        pa.list_(f8),
        "magnetic moment in the Bader volume of each atom; null for a calculation without spin",
        "μB",
        null=True,
    ),
    column("bader_method", text, "method of the Bader charges, its version, and the densities", null=True),
    column(
        "bader_missing",
        text,
        "why there are no Bader charges; null if there are, or if nobody asked for them",
        null=True,
    ),
]

_LABELS = [
    *FRAME,
    *GEOMETRY,
    *_RESULT,
    *_CHARGES,
    column(
        "verdict", text, "accepted, or quarantined by the calculation itself; in the dataset: after all rules"
    ),
    column("verdict_rules", text, "triggered rules, as JSON"),
    column("label_key", text, "content key: geometry and level"),
    *POTENTIAL,
    *SOURCE,
]

_ATOMS = [
    column("element", text, "chemical symbol"),
    *_RESULT,
    column("label_key", text, "content key: element, box and level"),
    column("code_version", text, "version of pesatlas that wrote the row"),
]

_DATASET = [
    *_LABELS,
    column(
        "cohesive_energy_eV_per_atom",
        f8,
        "energy_eV less isolated atoms at the same level, per atom; negative is bound",
        "eV/atom",
        null=True,
    ),
    column(
        "formation_energy_eV_per_atom",
        f8,
        "energy_eV less the crystals of its elements in this campaign at the same level, per atom; for "
        "crystals as given only",
        "eV/atom",
        null=True,
    ),
    column("abs_forces_eV_per_A", pa.list_(f8), "length of the force on each atom", "eV/Å"),
    column("max_force_eV_per_A", f8, "largest force on an atom", "eV/Å"),
    column("net_force_eV_per_A", f8, "length of the sum of all forces", "eV/Å"),
    column(
        "static_pressure_GPa", f8, "pressure of the label: minus a third of the trace of its stress", "GPa"
    ),
    column("max_stress_GPa", f8, "largest component of the stress, without its sign", "GPa"),
    column(
        "stress_asymmetry_GPa",
        f8,
        "largest change of a component of the stress under the crystal's symmetry",
        "GPa",
    ),
    column("entropy_eV_per_atom", f8, "T·S of the electrons: twice energy_eV less free_energy_eV", "eV/atom"),
    column(
        "level_gap_eV_per_atom",
        f8,
        "cohesive energy at the second level less that at the first, less the median of the dataset",
        "eV/atom",
        null=True,
    ),
    column("min_distance_A", f8, "shortest interatomic distance, periodic images included", "Å"),
    column("space_group", i4, "number of the space group at 1e-3 Å; 0 if none was found"),
    column("space_group_symbol", text, "its international symbol"),
    column("formula", text, "reduced formula, elements in alphabetical order"),
    column("chemical_system", text, "elements in alphabetical order, e.g. Cl-Na"),
    column("material_group", text, "kind of compound by its anion: oxide, halide, intermetallic, ..."),
    column(
        "split", text, "train, valid or test; by structure_id or chemical_system, the same for every level"
    ),
]

_IMPORTED = [
    column("snapshot_id", text, "the row, as its dataset names it"),
    column("structure_id", text, "source crystal, if known from the dataset; else as snapshot_id"),
    *GEOMETRY,
    column("level", text, "what its level was called when it was imported"),
    column("level_fingerprint", text, "of the file; not the level of any campaign"),
    column("energy_eV", f8, "total energy", "eV"),
    column("forces_eV_per_A", pa.list_(f8), "forces, 3n numbers, atom by atom", "eV/Å"),
    column(
        "stress_eV_per_A3",
        pa.list_(f8, 6),
        "stress, tension positive, Voigt xx yy zz yz xz xy",
        "eV/Å³",
        null=True,
    ),
    column("magmoms_muB", pa.list_(f8), "magnetic moments, if there are any", "μB", null=True),
    column("band_gap_eV", f8, "band gap", "eV", null=True),
    column(
        "cohesive_energy_eV_per_atom", f8, "cohesive energy as the dataset gives it", "eV/atom", null=True
    ),
    column(
        "formation_energy_eV_per_atom", f8, "formation energy as the dataset gives it", "eV/atom", null=True
    ),
    column("formula", text, "reduced formula, elements in alphabetical order"),
    column("chemical_system", text, "elements in alphabetical order, e.g. Cl-Na"),
    column("material_group", text, "kind of compound by its anion: oxide, halide, intermetallic, ..."),
    column("split", text, "split, if known from the dataset", null=True),
    column(
        "free_energy_eV",
        f8,
        "total free energy, the one forces derive from, if there is one",
        "eV",
        null=True,
    ),
    column("code", text, "code and version, of runs of VASP", null=True),
    column(
        "settings", text, "settings of the run in full and notes on it, as JSON, of runs of VASP", null=True
    ),
    *SOURCE,
]

_FAILURES = [
    column("stage", text, "stage that failed"),
    column("key", text, "what failed: structure_id, trajectory or snapshot_id"),
    column("structure_id", text, "the source crystal"),
    column("level", text, "reference level, if it was a label", null=True),
    column("reason", text, "an enumerated word, see FailureReason"),
    column("detail", text, "what happened, in a sentence"),
    column("attempts", i4, "attempts made"),
    column("code_version", text, "version of pesatlas that wrote the row"),
]

SCHEMAS: dict[str, pa.Schema] = {
    "structures": pa.schema(_STRUCTURES),
    "snapshots": pa.schema(_SNAPSHOTS),
    "features": pa.schema(_FEATURES),
    "trajectories": pa.schema(_TRAJECTORIES),
    "clusters": pa.schema(_CLUSTERS),
    "candidates": pa.schema(_CANDIDATES),
    "selection": pa.schema(_SELECTION),
    "quality": pa.schema(_QUALITY),
    "labels": pa.schema(_LABELS),
    "atoms": pa.schema(_ATOMS),
    "dataset": pa.schema(_DATASET),
    "imported": pa.schema(_IMPORTED),
    "failures": pa.schema(_FAILURES),
    **OF_POTENTIALS,
    **OF_CHECKS,
}
