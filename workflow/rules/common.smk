"""Wildcards and the two fan-outs. Paths by their names: src/pesatlas/campaign/layout.py."""

from pathlib import Path

from pesatlas.campaign.layout import (
    BATCHES_IN_GROUP,
    REFERENCE,
    WILDCARDS,
    WORK,
    groups,
    log_of,
    path_of,
    times_of,
)
from pesatlas.campaign.named_potentials import benchmark_shares, benchmarked_potentials, trained_potentials
from pesatlas.campaign.rounds import datasets_before, references
from pesatlas.campaign.rules import quick_rules
from pesatlas.tables import read_entry


wildcard_constraints:
    # frames of select.reference are a batch and a group of their own
    batch=WILDCARDS["batch"],
    group=WILDCARDS["group"],


# Compute nodes often have no network, so rules that fetch run on the machine of `pesatlas run`;
# so does the sum of a few hundred small files.
localrules:
    all,
    fetch_structures,
    fetch_potential,
    fetch_base,
    fetch_benchmark,
    fit_pca,


# What takes seconds in a small campaign would wait longer in a queue than it runs.
workflow.localrules(*quick_rules(campaign, {}))


# `conda:` on every rule is for sites that run jobs in conda environments (--sdm conda); without it jobs run
# in the environment of `pesatlas run`.


def identity(*sections):
    """What decides results in some sections of the configuration: the rule reruns when it changes."""
    return {section: getattr(campaign, section).identity() for section in sections}


def if_saturated(*names):
    """Return paths, by their names, of what is written of trajectories that end when they are saturated."""
    return {name: path_of(name) for name in names} if campaign.explore.stop.kind == "saturated" else {}


def kept_features(wildcards):
    """Return the features that exploration kept, if they are of the encoder of section encode."""
    stop = campaign.explore.stop
    mine = if_saturated("explored_features") and stop.encoder.identity() == campaign.encode.encoder.identity()
    return [path_of("explored_features", **wildcards)] if mine and wildcards.batch != REFERENCE else []


def explore_batches(pattern):
    """Return an input function: `pattern` for each batch of structures, known once they are prepared."""

    def files(wildcards):
        structures = Path(checkpoints.prepare_structures.get().output.structures)
        counts = read_entry(structures).counts
        # now it is known how many cells there are, and no job that depends on them is planned yet
        workflow.localrules(*quick_rules(campaign, counts))
        return expand(pattern, batch=[f"{i:05d}" for i in range(counts["batches"])])

    return files


def of_group(pattern):
    """Return an input function: `pattern` for each batch of a group."""

    def files(wildcards):
        if wildcards.group == REFERENCE:
            return expand(pattern, batch=REFERENCE)
        first = BATCHES_IN_GROUP * int(wildcards.group)
        return explore_batches(pattern)(wildcards)[first : first + BATCHES_IN_GROUP]

    return files


def select_groups(pattern):
    """Return an input function: `pattern` for each group of batches."""

    def files(wildcards):
        return expand(pattern, group=groups(len(explore_batches("{batch}")(wildcards))))

    return files


def reference(pattern):
    """Return `pattern` for the frames of select.reference and of rounds before, if there are any."""
    there = campaign.select.reference or campaign.round
    return expand(pattern, group=REFERENCE, batch=REFERENCE) if there else []


def of_round(files):
    """Return `files` if this campaign is a round after the first, and there is a committee."""
    return files if campaign.round else []


def label_batches():
    """Return the batches of labels; the configuration sets their number, so there is no second checkpoint."""
    return [f"{i:05d}" for i in range(campaign.label_batches)]


def trained(pattern):
    """Return `pattern` for each potential that is trained; none without a section `train`."""
    return expand(pattern, level=campaign.train_level, seed=campaign.train.seeds) if campaign.train else []


def benchmark_shards():
    """Return the table of every potential, property and share of its structures."""
    return [
        path_of("benchmark_shard", potential=potential, property=kind, batch=batch)
        for potential, kind, batch in benchmark_shares(campaign)
    ]


def benchmarked():
    """Return the benchmark files of the report and `all`, if there is a section `benchmark`."""
    return [path_of("benchmark_summary")] if campaign.benchmark else []


def property_settings(wildcards):
    """Return what decides a score, beside the potential and the data."""
    return campaign.benchmark.chosen()[wildcards.property].identity() if campaign.benchmark else None


def trained_card(wildcards):
    """Return the card of a potential that is trained in this campaign; nothing for the others."""
    folder = trained_potentials(campaign).get(wildcards.potential)
    return [f"{folder}/card.json"] if folder else []


def benchmark_settings(wildcards):
    """Return the potential that a score is of."""
    options, corrected = benchmarked_potentials(campaign)[wildcards.potential]
    return [options.identity(), corrected]


def compared(pattern):
    """Return `pattern` for each potential of the comparison; none without a section `compare`."""
    runs = campaign.compare.runs if campaign.compare else []
    return [pattern.format(policy=policy, share=f"{share:g}", seed=seed) for policy, share, seed in runs]


def at_most(value, limit, rulename):
    """Return `value`, or the `limit` of the profile (`default-resources`, `set-resources`), if smaller.

    This is the only place with limits of a cluster: a rule requests what it needs, and never more than any
    node or partition has.
    """
    given = workflow.get_rule(rulename).resources.get(limit).value
    return value if given is None else min(value, given)


def retry_memory(start, factor=2, each_core=0):
    """Return memory (MB) that grows with the attempt, up to `max_mem_mb`; `each_core`: per core."""

    def mem_mb(wildcards, threads, attempt, rulename):
        # with short jobs, most attempts follow from their time, not from their memory
        steps = min(attempt, 4) - 1
        return at_most(int((start + each_core * threads) * factor**steps), "max_mem_mb", rulename)

    return mem_mb


def retry_runtime(minutes):
    """Return a runtime that grows with the attempt, up to a day and `max_runtime` (minutes)."""
    return lambda wildcards, attempt, rulename: at_most(
        min(minutes * 2 ** (attempt - 1), 1440), "max_runtime", rulename
    )
