"""Tables of predictions, training and scores of potentials."""

import pyarrow as pa

from pesatlas.tables.columns import POTENTIAL, column, f4, f8, flag, i4, i8, text

_PARITY = [
    column("snapshot_id", text, "row of the dataset with the prediction"),
    column("structure_id", text, "the source crystal"),
    column("domain", text, "region of the PES"),
    column("n_atoms", i4, "number of atoms"),
    column("numbers", pa.list_(pa.uint8()), "atomic numbers"),
    column("mlip_energy_eV", f8, "total energy by the potential; null with a reason", "eV", null=True),
    column(
        "mlip_forces_eV_per_A",
        pa.list_(f8),
        "forces by the potential, 3n numbers, atom by atom; null as above",
        "eV/Å",
        null=True,
    ),
    column(
        "mlip_stress_eV_per_A3",
        pa.list_(f8, 6),
        "stress by the potential, tension positive, Voigt xx yy zz yz xz xy; null as above",
        "eV/Å³",
        null=True,
    ),
    column("reason", text, "why it could not be evaluated: an enumerated word, see FailureReason", null=True),
    *POTENTIAL,
    column("code_version", text, "version of pesatlas that wrote the row"),
]

_DISAGREEMENT = [
    column("snapshot_id", text, "candidate evaluated by the committee"),
    column("structure_id", text, "the source crystal"),
    column("domain", text, "region of the PES"),
    column("n_atoms", i4, "number of atoms"),
    column("numbers", pa.list_(pa.uint8()), "atomic numbers"),
    column("atom_clusters", pa.list_(i4), "cluster of each atom"),
    column(
        "energy_std_eV_per_atom",
        f8,
        "standard deviation of the members' energies; null with a reason",
        "eV/atom",
        null=True,
    ),
    column("force_std_mean_eV_per_A", f8, "mean over atoms of force_std_eV_per_A", "eV/Å", null=True),
    column("force_std_max_eV_per_A", f8, "largest of the same", "eV/Å", null=True),
    column(
        "force_std_eV_per_A",
        pa.list_(f4),
        "of each atom: root of the summed variances of the three components of the members' forces",
        "eV/Å",
        null=True,
    ),
    column(
        "stress_std_eV_per_A3",
        f8,
        "root of the mean variance of the six components of the members' stresses",
        "eV/Å³",
        null=True,
    ),
    column("reason", text, "why it could not be evaluated: an enumerated word, see FailureReason", null=True),
    column("code_version", text, "version of pesatlas that wrote the row"),
]

_CALIBRATION = [
    column("quantity", text, "energy (eV/atom) or forces (eV/Å, length of a vector)"),
    column(
        "bin", i4, "0: all values; from 1 on: bins of as many values each, from small to large disagreement"
    ),
    column("values", i8, "labels, or atoms of labels"),
    column("std", f8, "disagreement: root mean square of the committee's standard deviation"),
    column("expected", f8, "the same times the factor: the error that is expected"),
    column("error", f8, "root mean square distance of the committee's mean from the label"),
    column("error_low", f8, "lower end of its 95 % interval, by resampling crystals"),
    column("error_high", f8, "upper end of the same"),
    column("factor", f8, "errors in multiples of the disagreement; null but in bin 0", null=True),
    column("factor_low", f8, "lower end of its 95 % interval", null=True),
    column("factor_high", f8, "upper end of the same", null=True),
    column(
        "miscalibration", f8, "mean over bins of |expected - error| / expected; null but in bin 0", null=True
    ),
    column(
        "rank_correlation",
        f8,
        "Spearman's, of disagreement and error: 1 if it ranks errors rightly, 0 if it knows nothing; null "
        "but in bin 0",
        null=True,
    ),
    column("held_out", flag, "whether the committee was not trained on these labels"),
    column("code_version", text, "version of pesatlas that wrote the row"),
]

_GAPS = [
    column("structure", text, "external structure: its id, or the name and number of its file"),
    column("domain", text, "its domain, if a campaign gave it; else given"),
    column("element", text, "element in it"),
    column("atoms", i4, "atoms of this element in it"),
    column(
        "distance",
        f8,
        "of its atom farthest from the nearest atom of the element in the dataset, weighted PCs; null "
        "without one",
        null=True,
    ),
    column("percentile", f8, "share of the dataset's own frames that lie nearer to all others than this"),
    column("typical_distance", f8, "median of the same distance over the dataset's own frames"),
    column("compared_with", i8, "frames of the dataset with this element whose distance was measured"),
    column("verdict", text, "inside up to the percentile 0.90, edge up to 0.99, outside beyond"),
]

_HISTORY = [
    column("level", text, "reference level of the labels that it is trained on"),
    column("seed", i8, "which potential of the committee"),
    column("weights_hash", text, "sha256 of the weights that came of it"),
    column("epoch", i4, "how many times every row had been seen, less one"),
    column("step", i8, "steps of the optimizer so far"),
    column("learning_rate", f8, "of the last of them"),
    column("train_loss", f8, "loss over the split train, while weights changed"),
    column("valid_loss", f8, "loss over the split valid after the epoch; null without rows", null=True),
    *[
        column(
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
    column(
        "best", flag, "whether no epoch before had a smaller loss: weights of the last such epoch are kept"
    ),
    column("wall_s", f8, "wall time so far", "s"),
]

_BENCHMARKED = [
    column("potential", text, "name of the benchmarked potential"),
    column("potential_hash", text, "sha256 of its weights"),
    column("potential_level", text, "level that it was trained at; unknown if not recorded"),
    column("property", text, "property that is measured"),
    column("quantity", text, "number of that property"),
    column("unit", text, "unit of value, reference and error"),
]

_SCORES = [
    *_BENCHMARKED,
    column("structure_id", text, "structure or frame, as its data name it"),
    column("formula", text, "reduced formula"),
    column("value", f8, "prediction of the potential; null with a reason", null=True),
    column("reference", f8, "reference value; null where there is none", null=True),
    column("error", f8, "value less reference, without its sign", null=True),
    column("reason", text, "why there is no value: an enumerated word, see FailureReason", null=True),
    column("outcome", text, "how it ended, of properties that end in one way or another", null=True),
    column("detail", text, "what else there is to know, in a sentence"),
    column("reference_column", text, "key of the reference in the data; of frames their level"),
    column("settings", text, "hash of the settings of the property"),
    column(
        "wall_s",
        f8,
        "wall time of the measurement; the shared work of a batch counts for its first structure",
        "s",
    ),
    column("code_version", text, "version of pesatlas that wrote the row"),
]

_SUMMARY = [
    *_BENCHMARKED,
    column("statistic", text, "mae, mean, ratio (mean, 1 is perfect) or half_life"),
    column("n", i8, "structures that have a value"),
    column("n_failed", i8, "structures that have none"),
    column("value", f8, "the statistic; null if nothing has a value, or more than half survive", null=True),
    column("low", f8, "lower end of its 95 % interval, by bootstrap over structures", null=True),
    column("high", f8, "upper end", null=True),
    column("verdict", text, "good, fair or poor; empty without a threshold"),
    column("reference_column", text, "key of the reference in the data; of frames their level"),
    column("published", f8, "published value of the statistic", null=True),
    column("published_model", text, "of which model", null=True),
    column("published_source", text, "where", null=True),
]

_DIFFERENCES = [
    column("property", text, "property that is measured"),
    column("quantity", text, "number of that property"),
    column("first", text, "name of a potential"),
    column("second", text, "name of another"),
    column("n", i8, "structures that both have a value of"),
    column("difference", f8, "mean error of the first less that of the second: negative is better"),
    column("low", f8, "lower end of its 95 % interval, by bootstrap of pairs", null=True),
    column("high", f8, "upper end", null=True),
    column("p_value", f8, "of Wilcoxon's signed-rank test"),
]

_OF_ARM = [
    column("arm", text, "selection policy"),
    column("cost_share", f8, "share of the full cost that it might spend"),
]

_ARMS = [
    column("arm", text, "selection policy that picked the frame; test for the common test frames"),
    column("snapshot_id", text, "the frame, as table selection has it"),
    column("rank", i8, "order of picking within the arm"),
    column("cost_atoms3", f8, "cube of the number of atoms, summed over the arm up to this frame"),
]

_ERRORS = [
    column("energy_mae_meV_per_atom", f8, "mean absolute error of energies", "meV/atom"),
    column("force_mae_meV_per_A", f8, "mean absolute error of force components", "meV/Å"),
    column("stress_mae_GPa", f8, "mean absolute error of stress components", "GPa"),
]

_ARM_ERRORS = [
    *_OF_ARM,
    column("seed", i8, "seed of its training"),
    column("level", text, "reference level of the labels"),
    column("snapshot_id", text, "test frame"),
    column("structure_id", text, "the held-out crystal"),
    column("equilibrium", flag, "whether it is the crystal as given"),
    column("n_atoms", i4, "number of atoms"),
    *_ERRORS,
]

_TEST = [
    column("level", text, "reference level of the labels"),
    column("frames", text, "which frames of the test: dynamics, or equilibrium (crystals as given)"),
]
_ERROR = column("error", text, "which error: a column of table comparison")
_REFERENCE = column("reference", text, "arm that it is compared with: the first policy at the largest share")

_COMPARISON = [
    *_OF_ARM,
    column("seed", i8, "seed of its training"),
    *_TEST,
    column("cost_atoms3", f8, "cost of its picks: the cube of their numbers of atoms, summed"),
    column("picks", i8, "how many of them"),
    column("test_frames", i8, "test frames, the same for all"),
    column("test_materials", i8, "held-out crystals that they are of"),
    *_ERRORS,
]

_CONTRASTS = [
    *_OF_ARM,
    *_TEST,
    _ERROR,
    column("cost_atoms3", f8, "cost of its picks: the cube of their numbers of atoms, summed"),
    column("mean", f8, "mean over seeds, in the unit of the error"),
    column("low", f8, "lower end of its 95 % interval, over seeds and held-out materials"),
    column("high", f8, "upper end of the same"),
    _REFERENCE,
    column("ratio", f8, "mean over that of the reference"),
    column("ratio_low", f8, "lower end of its 95 % interval, paired by held-out material"),
    column("ratio_high", f8, "upper end of the same"),
    column(
        "verdict",
        text,
        "lower or higher than the reference, if the interval leaves out 1; else, and with fewer than 5 "
        "materials, undecided",
    ),
]

_EFFICIENCY = [
    _OF_ARM[0],
    *_TEST,
    _ERROR,
    _REFERENCE,
    column(
        "cost_ratio",
        f8,
        "cost at which the policy reaches the error of the reference, over the cost of that; interpolated in "
        "logarithms between shares",
    ),
    column(
        "bound",
        text,
        "< if the smallest share is already as good, > if the largest is not yet; else empty",
    ),
    column("cost_ratio_low", f8, "lower end of its 95 % interval; null: below the smallest share", null=True),
    column("cost_ratio_high", f8, "upper end of the same; null: above the largest share", null=True),
    column(
        "verdict",
        text,
        "better or worse than the reference, if the interval leaves out 1; else, and with fewer than 5 "
        "materials, undecided",
    ),
    column(
        "detectable_ratio",
        f8,
        "ratio of errors at the largest share, below 1, that the comparison would tell from 1 with a chance "
        "of 80 %",
    ),
]

OF_POTENTIALS: dict[str, pa.Schema] = {
    "parity": pa.schema(_PARITY),
    "disagreement": pa.schema(_DISAGREEMENT),
    "calibration": pa.schema(_CALIBRATION),
    "gaps": pa.schema(_GAPS),
    "history": pa.schema(_HISTORY),
    "scores": pa.schema(_SCORES),
    "summary": pa.schema(_SUMMARY),
    "differences": pa.schema(_DIFFERENCES),
    "arms": pa.schema(_ARMS),
    "arm_errors": pa.schema(_ARM_ERRORS),
    "comparison": pa.schema(_COMPARISON),
    "contrasts": pa.schema(_CONTRASTS),
    "efficiency": pa.schema(_EFFICIENCY),
}
