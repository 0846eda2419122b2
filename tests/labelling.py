"""The label stage of a whole campaign, as its scripts call it."""

from pesatlas.label.batch import label_batch
from pesatlas.label.isolated_atoms import label_atoms


def label_batch_of(campaign, batch, selection, labels, failures, work, **more):
    """Label a batch with the sections of ``campaign``."""
    paths = {"selection": selection, "labels": labels, "failures": failures, "work": work}
    label_batch(campaign.label, campaign.campaign, batch, **paths, **more)


def label_atoms_of(campaign, structures, atoms, failures, work):
    """Label isolated atoms with the sections of ``campaign``."""
    paths = {"structures": structures, "atoms": atoms, "failures": failures, "work": work}
    label_atoms(campaign.label, campaign.campaign, **paths)
