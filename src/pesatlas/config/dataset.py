"""Section ``dataset``: acceptance limits, merging, splits."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from pesatlas.config import plugins
from pesatlas.config.section import Section

Consequence = Literal["quarantine", "flag", "ignore"]
OWN = "own choice"

EXPORTERS = "pesatlas.dataset.exporters"

if TYPE_CHECKING:
    # the names are those of the modules that are there
    Format = str
else:
    Format = plugins.name_in(EXPORTERS)


class Split(Section):
    """Shares of the splits; whole materials are assigned, so that frames of one trajectory never leak."""

    by: Literal["structure", "chemical_system"] = Field(
        "structure",
        description="unit that is never divided between splits: structure (a source crystal with all its "
        "cells and frames) or chemical_system (all crystals of the same elements)",
    )
    valid: float = Field(0.05, ge=0, lt=1, description="share of these units for validation")
    test: float = Field(
        0.05, ge=0, lt=1, description="share of these units for the test split; the rest is for training"
    )

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> "Split":
        if self.valid + self.test >= 1:
            raise ValueError("valid and test together leave nothing to train on; make their sum less than 1")
        return self


class Rule(Section):
    """A limit on a quantity of labels, the verdict beyond it, and the source of the limit."""

    limit: float = Field(gt=0, description="largest accepted value")
    then: Consequence = Field("flag", description="verdict on labels beyond the limit")
    source: str = Field(OWN, description="source of the limit; change it with the limit")


class AtLeast(Rule):
    """A rule with a smallest accepted value."""

    limit: float = Field(gt=0, description="smallest accepted value")


class Window(Section):
    """A rule with a smallest and a largest accepted value."""

    lowest: float = Field(description="smallest accepted value")
    highest: float = Field(description="largest accepted value")
    then: Consequence = Field("flag", description="verdict on labels beyond the limit")
    source: str = Field(OWN, description="source of the limits; change it with the limits")

    @model_validator(mode="after")
    def _has_an_inside(self) -> "Window":
        if self.lowest >= self.highest:
            raise ValueError("highest: nothing passes; make it larger than lowest")
        return self


class Rules(Section):
    """Limits on labels. ``quarantine`` keeps a label out of the dataset, ``flag`` marks it there.

    These are always applied and quarantine: ``converged`` (this attempt's own output says so),
    ``calculation`` (nothing that defines the level was changed to make it succeed), ``structure`` (it is the
    one that was selected), ``finite`` (every number).
    """

    net_force: Rule = Field(
        Rule(
            limit=0.02,
            then="quarantine",
            source=f"{OWN}; exact forces sum to zero; a converged calculation leaves a few meV per A",
        ),
        description="magnitude of the sum of all forces (eV/Å)",
    )
    stress_symmetry: Rule = Field(
        Rule(
            limit=2.0,
            then="quarantine",
            source=f"{OWN}; a stress is as symmetric as its crystal, but for k-points that are not; a wrong "
            "order of components is tens of GPa",
        ),
        description="largest change of a component of the stress under the operations of the crystal's "
        "space group "
        "(GPa)",
    )
    force: Rule = Field(
        Rule(limit=50.0, source=f"{OWN}; ten times what MD at 2000 K reaches"),
        description="largest force on an atom (eV/Å)",
    )
    cohesive_energy: Window = Field(
        Window(
            lowest=-12.0,
            highest=0.0,
            source=f"{OWN}; the elements reach -9 eV/atom (tungsten); above zero nothing is bound",
        ),
        description="cohesive energy (eV/atom, negative is bound)",
    )
    stress: Rule = Field(
        Rule(limit=100.0, source=f"{OWN}; far outside what dynamics at the given pressures visits"),
        description="largest component of the stress, either sign (GPa)",
    )
    distance: AtLeast = Field(
        AtLeast(limit=0.7, source="shortest bond there is, H2 with 0.74 A"),
        description="shortest distance between atoms (Å)",
    )
    level_gap: Rule = Field(
        Rule(
            limit=0.5,
            source=f"{OWN}; cohesive energies of PBE and r2SCAN differ by some 0.1 eV/atom; far more is "
            "another magnetic or SCF solution",
        ),
        description="difference of the cohesive energies at the first two levels, minus the median of all "
        "such differences, either sign (eV/atom)",
    )
    entropy: Rule = Field(
        Rule(
            limit=0.02,
            source=f"{OWN}; more makes the extrapolation to zero smearing doubtful",
        ),
        description="electronic T·S: twice the difference of the energy at zero smearing and the free "
        "energy, either sign (eV/atom)",
    )


class Exports(Section):
    """Export formats of the dataset, besides its own tables."""

    formats: list[Format] = Field(
        plugins.available(EXPORTERS),
        description="matpes: JSON as published; matgl: the same with stresses that matgl trains on; extxyz: "
        "for "
        "ASE; mace: extended XYZ with REF_ keys; aselmdb: for fairchem; huggingface: Parquet by split; "
        "pymatgen: entries",
    )
    verdicts: list[Literal["accepted", "flagged"]] = Field(
        ["accepted"], min_length=1, description="verdicts of exported rows"
    )


class Author(Section):
    """A person who made the dataset."""

    given: str = Field(min_length=1, description="given names")
    family: str = Field(min_length=1, description="family name")
    orcid: str | None = Field(None, pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$", description="ORCID iD")


class Card(Section):
    """Authors, licence, DOI and known limits for the dataset card."""

    title: str | None = Field(None, description="title; null: from the campaign's name and levels")
    authors: list[Author] = Field([], description="authors for the citation (given, family, orcid)")
    licence: str = Field("CC-BY-4.0", min_length=1, description="licence of the data, as SPDX names it")
    doi: str | None = Field(None, pattern=r"^10\.\d{4,9}/\S+$", description="DOI of the dataset")
    remarks: list[str] = Field([], description="known limits and other remarks for users")


class Dataset(Section):
    """Acceptance of labels, splits and exports. Changes here cause no new labels."""

    rules: Rules = Rules()
    patch_versions: list[str] = Field(
        [],
        description="codes and libraries (e.g. gpaw-data) whose labels are merged although their patch "
        "versions differ; recorded in the manifest. Any other difference stops the campaign",
    )
    split: Split = Split()
    exports: Exports = Exports()
    card: Card = Card()
