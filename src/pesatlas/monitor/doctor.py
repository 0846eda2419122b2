"""Checks of everything a campaign needs before it begins."""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pesatlas.atoms.elements import atomic_number, symbol_of
from pesatlas.campaign.layout import below
from pesatlas.campaign.load import load_campaign, read_campaign
from pesatlas.config import plugins
from pesatlas.config.campaign import Campaign
from pesatlas.config.explore import LONGEST_WITH_HYDROGEN_FS, hydrogen_warning
from pesatlas.config.explore_stop import Saturated
from pesatlas.config.plugins import EXTENSIONS
from pesatlas.config.plugins_used import plugins_in
from pesatlas.errors import UserError
from pesatlas.levels.lookup import levels_of, supported_elements
from pesatlas.monitor.check import Check
from pesatlas.monitor.cluster import read_profile
from pesatlas.monitor.cluster.partition_fit import check_slurm
from pesatlas.monitor.comparison_design import design_of
from pesatlas.monitor.disk import check_folder, check_locks
from pesatlas.monitor.fit import misfits, survey_of
from pesatlas.monitor.squeue import call_slurm
from pesatlas.monitor.strain_gate import strain_lines
from pesatlas.potentials.encoder import Encoder
from pesatlas.potentials.loading import elements_of, load_potential
from pesatlas.potentials.weights import load_matgl
from pesatlas.runtime.extras import check_extra
from pesatlas.storage.store import stores_at
from pesatlas.structures.crystal import Crystal
from pesatlas.tables.io import check_metadata

_READ_AT_MOST = 2000
"""Crystals that are read from each source for their elements: enough to see what is there, in seconds."""

_LONG_S = 2.0
_REFUSED_SHOWN = 10
_NOT_SO = "not so: "
"""Begins what ``_attempt`` says of an error, whose whole message is then the remedy."""


def doctor(config: Path, profile: Path, snakefile: Path) -> Iterator[Check]:
    """Yield one check after the other, as they are done.

    The campaign is that of the current folder, its workflow ``snakefile``.

    An error that several checks run into, such as a variable that is not set, is told by the first of them.
    """
    told = ""
    for check in _checks(config, profile, snakefile):
        if check.ok or not check.remedy or check.remedy not in told:
            yield check
        if check.text.startswith(_NOT_SO):
            told += check.remedy


def _checks(config: Path, profile: Path, snakefile: Path) -> Iterator[Check]:
    try:
        campaign = read_campaign(config, extensions=False)
    except UserError as error:
        yield Check(False, str(error), "correct it; nothing else was checked")
        return
    yield Check(True, f"{config} is a valid configuration of campaign '{campaign.campaign.name}'")
    yield _attempt(
        "files and programs that the configuration names exist",
        lambda: load_campaign(campaign.model_dump(), str(config)),
    )
    yield _attempt("the libraries of the report are installed", partial(check_extra, "report"))
    yield from _plugins(campaign)
    found, where = elements_in(campaign, Path("results"))
    symbols = " ".join(symbol_of(z) for z in sorted(found))
    yield Check(True, f"{len(found)} elements {where}{': ' if found else ''}{symbols}")
    on_slurm = read_profile(profile).get("executor") == "slurm"
    if warning := hydrogen_warning(campaign.explore.timestep_fs, found):
        # no mistake: as published, MatPES has it so
        yield Check(True, warning, doubtful=True)
    yield from _crystals(campaign)
    yield from _models(campaign, found, on_slurm=on_slurm)
    yield from _labels(campaign, found)
    yield from strain_lines(campaign, Path("results"))
    scratch = campaign.label.scratch or Path(tempfile.gettempdir())
    folders = {"campaign": Path.cwd(), "store": Path(campaign.campaign.store)}
    for what, folder in folders.items():
        yield from check_folder(what, folder, private=True)
        yield check_locks(what, folder)
    for other in campaign.campaign.read_stores:
        yield _attempt(
            f"store {other}, which is only read, can be read",
            partial(_read_store, campaign.campaign.store, other),
        )
    if not on_slurm or campaign.label.scratch is None:
        yield from check_folder("scratch", scratch, private=False)
    else:
        yield Check(True, f"scratch {scratch} is on the nodes: not checked from here")
    if not profile.is_dir():
        yield Check(
            False, f"--profile {profile}: no such folder", "name a profile folder, e.g. profiles/slurm"
        )
    elif on_slurm:
        yield from check_slurm(campaign, config, read_profile(profile), profile / "config.yaml", snakefile)
    elif (waited := _wait_for_slurm()) > _LONG_S:
        yield Check(
            True,
            f"Slurm does not answer on this machine: every job of Snakemake waits {waited:.0f} s for it. "
            "`SLURM_CONF=/dev/null pesatlas run` does not",
            doubtful=True,
        )


def _wait_for_slurm() -> float:
    """Return how long (s) Snakemake's Slurm plugin waits whenever it is imported, which every job does."""
    began = time.monotonic()
    call_slurm("scontrol", "show", "config", patience_s=10.0)  # as the plugin calls it
    return time.monotonic() - began


def _plugins(campaign: Campaign) -> Iterator[Check]:
    """Name extensions of other distributions: those in use, and those that are not looked at."""
    for each in plugins_in(campaign.model_dump(mode="json")):
        yield Check(True, f"{each} is not part of pesatlas: its authors are responsible for it")
    for package in plugins.GROUPS:
        for each in plugins.plugins(package, shadowed=True):
            text = f"{each} is not used: pesatlas has a {each.word} of that name"
            yield Check(True, text, doubtful=True)


def _attempt(text: str, look: Callable[[], object]) -> Check:
    """Check that a function raises no UserError; its message has problem and remedy."""
    try:
        look()
    except UserError as error:
        return Check(False, f"{_NOT_SO}{text}", str(error))
    return Check(True, text)


def _read_store(own: str, other: str) -> None:
    stores_at(own, [other], "labels").refresh()


def elements_in(campaign: Campaign, results: Path) -> tuple[set[int], str]:
    """Return the atomic numbers in the campaign, and in words where that is known from."""
    structures = below(results, "structures")
    found: set[int] = set()
    if structures.is_file():
        check_metadata(structures, "structures")
        with pq.ParquetFile(structures) as file:
            for piece in file.iter_batches(columns=["numbers"]):
                found.update(int(z) for z in np.unique(piece.column(0).flatten().to_numpy()))
        return found, f"in {structures}"
    unread, cut = [], False
    for options in campaign.structures.sources:
        try:
            reads = list(islice(_load(options), _READ_AT_MOST))
        except UserError:
            unread.append(options.kind)
            continue
        cut = cut or len(reads) == _READ_AT_MOST
        found.update(int(z) for read in reads if isinstance(read, Crystal) for z in read.numbers)
    if campaign.structures.elements is not None:
        found &= {atomic_number(symbol) for symbol in campaign.structures.elements}
    remarks = [f"without {', '.join(unread)}, which must be fetched first"] if unread else []
    remarks += [f"of the first {_READ_AT_MOST} crystals of a source"] if cut else []
    return found, ", ".join(["in the sources of structures", *remarks])


def _crystals(campaign: Campaign) -> Iterator[Check]:
    """Look at every crystal of the sources, and whether the settings fit those that are usable."""
    found = survey_of(campaign)
    if found is None:
        return
    yield Check(bool(found.accepted), found.sentence, "name other sources: nothing could be explored")
    for key, why in found.failed[:_REFUSED_SHOWN]:
        yield Check(True, f"{key} {why.reason}: {why.detail}", doubtful=True)
    if len(found.failed) > _REFUSED_SHOWN:
        yield Check(True, f"and {len(found.failed) - _REFUSED_SHOWN} more are refused", doubtful=True)
    for sentence in misfits(campaign, found.accepted):
        yield Check(True, sentence, doubtful=True)
    design = design_of(campaign, len(found.accepted), Path("results"))
    if design is not None:
        yield Check(True, design.sentence, doubtful=design.weak)


def warnings_of(campaign: Campaign, results: Path) -> list[str]:
    """Return what is allowed and hardly meant, in sentences; sources are read where that is quick."""
    found = survey_of(campaign)
    fit = list(misfits(campaign, found.accepted)) if found is not None else []
    design = design_of(campaign, len(found.accepted), results) if found is not None else None
    fit += [design.sentence] if design is not None and design.weak else []
    step = campaign.explore.timestep_fs
    if isinstance(step, str) or step <= LONGEST_WITH_HYDROGEN_FS:
        return fit
    elements, _ = elements_in(campaign, results)
    warning = hydrogen_warning(step, elements)
    return [f"explore.timestep_fs: {warning}.", *fit] if warning else fit


def _load(options: Any) -> Iterator[Any]:
    reads: Iterator[Any] = plugins.find(EXTENSIONS["structures.sources"], options.kind).load(options)
    return reads


def _models(campaign: Campaign, found: set[int], *, on_slurm: bool) -> Iterator[Check]:
    """Check the potential and the encoder, on the CPU: the login node of a cluster has no other."""
    encoder: Any = campaign.encode.encoder
    labels = getattr(campaign.label.backend, "potential", None)
    asked = [("the potential", campaign.explore.potential)]
    asked += [("the potential that labels", labels)] if labels is not None else []
    for who, options in asked:
        about = _attempt(
            f"{who} ({options.kind}) loads, and reproduces known crystals",
            partial(load_potential, options, "cpu"),
        )
        yield about
        if about.ok and options is campaign.explore.potential:
            yield _known(who, elements_of(options), found)
    for i, options in enumerate(campaign.round.committee if campaign.round else (), start=1):
        yield _attempt(
            f"member {i} of the committee ({options.kind}) loads",
            partial(load_potential, options, "cpu", gate=False),
        )
    yield _attempt(f"the encoder ({encoder.kind}) loads", partial(_load_encoder, encoder))
    stop = campaign.explore.stop
    if isinstance(stop, Saturated):
        stop_encoder: Any = stop.encoder
        yield _attempt(
            f"the encoder of explore.stop ({stop_encoder.kind}) loads, and knows what the potential knows of "
            "these",
            partial(_check_stop_encoder, stop_encoder, campaign.explore.potential, found),
        )
    train = campaign.train
    base = train.base if train else None
    if base is not None:
        yield _attempt(
            "the weights to start training from load, and know all elements",
            partial(_check_base, base, found),
        )
    wanted = {campaign.explore.device, campaign.encode.device, campaign.label.device}
    wanted |= {section.device for section in (train, campaign.round) if section is not None}
    wanted -= {"cpu"}
    if wanted and not on_slurm:
        import torch  # noqa: PLC0415 - slow to import

        device = ", ".join(sorted(wanted))
        yield (
            Check(True, f"a GPU for {device}")
            if torch.cuda.is_available()
            else Check(
                False,
                f"no GPU for {device}",
                "set device: cpu, or use a profile whose jobs run on nodes with GPUs",
            )
        )


def _load_encoder(options: Any) -> Encoder:
    encoder: Encoder = plugins.find(EXTENSIONS["encode.encoder"], options.kind).load(options, "cpu")
    return encoder


def _check_stop_encoder(options: Any, potential: Any, found: set[int]) -> None:
    """Raise a UserError if the encoder of ``explore.stop`` would end the jobs that explore."""
    encoder = _load_encoder(options)
    # what the potential does not know is refused before anything is explored
    if unknown := sorted((found & elements_of(potential)) - encoder.elements):
        symbols = " ".join(map(symbol_of, unknown))
        raise UserError(
            f"{encoder.name} does not know {symbols}: exploring would end there. Choose another in "
            "explore.stop.encoder, or leave these elements out (structures.elements)."
        )


def _check_base(base: Any, found: set[int]) -> None:
    """Raise a UserError if training could not start from these weights when everything is labelled."""
    load_matgl(base.folder(), sha256=base.sha256)
    if unknown := sorted(found - elements_of(base)):
        raise UserError(
            f"train.base: {base.folder()} does not know {' '.join(map(symbol_of, unknown))}: training would "
            "end there. Choose another base, or leave these elements out (structures.elements)."
        )


def _labels(campaign: Campaign, found: set[int]) -> Iterator[Check]:
    backend: Any = campaign.label.backend
    about = _attempt(
        f"reference levels {', '.join(campaign.label.levels)} ({backend.kind})",
        lambda: levels_of(backend, campaign.label.levels),
    )
    yield about
    diagnose = getattr(plugins.find(EXTENSIONS["label.backend"], backend.kind), "diagnose", None)
    if diagnose is not None:
        folder = Path("work/doctor")
        yield from (Check(*each) for each in diagnose(backend, [symbol_of(z) for z in sorted(found)], folder))
    elif about.ok:
        yield _known(f"the backend {backend.kind}", supported_elements(backend), found)


def _known(who: str, known: frozenset[int], found: set[int]) -> Check:
    unknown = " ".join(symbol_of(z) for z in sorted(found - known))
    if unknown:
        # no mistake: prepare_structures turns these crystals into rows of failures
        return Check(
            True, f"{who} does not know {unknown}: crystals with them become failures (unsupported_element)"
        )
    return Check(True, f"{who} knows all of them")
