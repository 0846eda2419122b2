"""Remedies of failures: for each reason, a sentence on what to do about it."""

from pesatlas.tables import FailureReason as Reason

REMEDIES = {
    Reason.UNREADABLE: "Mend the file, or take another one of the same crystal.",
    Reason.INCOMPLETE: "Add the atoms that the file leaves out (often hydrogen), or take another file.",
    Reason.AMBIGUOUS_SETTING: "Write the symmetry operations or the space group's setting into the file.",
    Reason.DISORDERED: (
        "Make ordered cells of it (pymatgen's OrderDisorderedStructureTransformation, for one) and name "
        "those as a source."
    ),
    Reason.OVERLAPPING: "Two atoms share a site: correct positions or cell of the file.",
    Reason.DUPLICATE: "Nothing: the crystal is there under another name.",
    Reason.UNSUPPORTED_ELEMENT: (
        "Take a potential, an encoder or a backend that knows the element, or leave the crystal out."
    ),
    Reason.NOT_PERIODIC: "Put it into a periodic cell, with vacuum for a molecule or a layer.",
    Reason.TOO_MANY_ATOMS: "Raise structures.max_atoms, or take a primitive cell.",
    Reason.BAD_ID: "Rename it: letters, digits, - _ and . only.",
    Reason.CHARGED: "Cells are neutral here: add the counter-charge, or leave it out.",
    Reason.NOT_APPLICABLE: "Nothing: the domain has no such cell of this crystal.",
    Reason.POLAR: (
        "Nothing: a polar surface would need a reconstruction. Take other Miller indices in the domain."
    ),
    Reason.EXPLODED_VOLUME: (
        "The good frames are kept. Look at the last ones: the potential may be wrong there, or the "
        "crystal melt; explore.abort has the limits."
    ),
    Reason.EXPLODED_DISTANCE: (
        "The good frames are kept. The potential let two atoms fall together: a shorter time step, or "
        "another potential."
    ),
    Reason.EXPLODED_TEMPERATURE: "The good frames are kept. A shorter time step, or another potential.",
    Reason.NOT_FINITE: (
        "The numbers cannot be used. If there are many, test the potential or the code on one of these "
        "cells by itself."
    ),
    Reason.LOST_ATOMS: "The good frames are kept. Lower the temperature, or take a larger cell.",
    Reason.OUT_OF_MEMORY: (
        "Give its job more memory, or fewer atoms at once (explore.max_atoms_in_memory), then `pesatlas "
        "retry --reason out_of_memory` for labels, and `pesatlas run`."
    ),
    Reason.NOT_CONVERGED: (
        "`pesatlas outputs KEY --to FOLDER` shows the calculation; more SCF steps or another mixing make"
        " another level. `pesatlas retry --reason not_converged` tries it again."
    ),
    Reason.MISSING_PSEUDOPOTENTIAL: (
        "Put the file of this element where the backend looks for it: `pesatlas doctor`."
    ),
    Reason.TIMEOUT: (
        "Give labels more time (label.timeout_min), then `pesatlas retry --reason timeout` and `pesatlas"
        " run`."
    ),
    Reason.CRASHED: (
        "`pesatlas outputs KEY --to FOLDER` shows what the program wrote. `pesatlas retry --reason "
        "crashed`, then `pesatlas run`."
    ),
    Reason.BAD_OUTPUT: (
        "`pesatlas outputs KEY --to FOLDER` shows what the program wrote; `pesatlas retry --reason "
        "bad_output` calculates it again."
    ),
    Reason.WRONG_STRUCTURE: (
        "The output is of another structure: look at it with `pesatlas outputs KEY --to FOLDER`."
    ),
    Reason.WRONG_LEVEL: (
        "The output was made with other settings than the level's: `pesatlas compatible` lists them."
    ),
    Reason.NOT_STATIC: "The output is a relaxation or dynamics: import single points.",
    Reason.QUARANTINED: (
        "The rules that put it there are in the detail; dataset.rules has their limits, `pesatlas retry "
        "--quarantined` calculates again."
    ),
    Reason.MISSING_REFERENCE_ATOM: (
        "Nothing: the level has no isolated atoms, so cohesive energies are empty."
    ),
    Reason.NO_REFERENCE: "Nothing: the reference data have no value for it.",
}
"""Remedies by reason; KEY stands for the key of a failure."""
