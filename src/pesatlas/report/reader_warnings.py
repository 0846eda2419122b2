"""Number and kinds of crystals that were read with warnings."""

import re
from collections import Counter
from pathlib import Path

import pyarrow.compute as pc

from pesatlas.campaign.layout import within
from pesatlas.tables import read_table

_SHOWN = 3
_NUMBER = re.compile(r"\d+\.?\d*")


def doubts(structures: Path, accepted: int) -> str:
    """Return ``3 of 12 crystals were read with warnings: ...`` of a table of structures.

    Nothing if there are none, or the table is not there.

    Warnings that differ in numbers alone are one, and the most frequent come first.
    """
    if not structures.is_file():
        return ""
    table = read_table(structures, "structures", ["structure_id", "warnings"])
    rows = table.filter(pc.greater(pc.list_value_length(table["warnings"]), 0)).to_pylist()
    by_crystal = {row["structure_id"]: row["warnings"] for row in rows}
    if not by_crystal:
        return ""
    examples: dict[str, str] = {}
    kinds: Counter[str] = Counter()
    for sentences in by_crystal.values():
        # the name of the file comes first
        short = [sentence.partition(": ")[2] or sentence for sentence in sentences]
        for kind, sentence in {_NUMBER.sub("0", each): each for each in short}.items():
            examples.setdefault(kind, sentence)
            kinds[kind] += 1
    told = [f"{examples[kind]} ({count})" for kind, count in kinds.most_common(_SHOWN)]
    told += [f"{len(kinds) - _SHOWN} others"] if len(kinds) > _SHOWN else []
    return (
        f"{len(by_crystal):,} of {accepted:,} crystals were read with warnings: {'; '.join(told)}. "
        f"All of them: column 'warnings' of {within('structures')}."
    )
