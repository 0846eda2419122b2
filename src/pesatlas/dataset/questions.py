"""Questions that people ask of a campaign often, each a query by its name."""

import difflib
import re

from pesatlas.errors import UserError
from pesatlas.tables.failures import LOST

QUESTIONS = {
    "by-crystal": """
        SELECT structure_id, level, count(*) AS rows, count(*) FILTER (verdict = 'flagged') AS flagged,
            max(max_force_eV_per_A) AS largest_force_eV_per_A,
            avg(cohesive_energy_eV_per_atom) AS mean_cohesive_energy_eV_per_atom,
            any_value(formula) AS formula
        FROM dataset GROUP BY structure_id, level ORDER BY structure_id, level""",
    "worst-forces": """
        SELECT snapshot_id, max_force_eV_per_A, level, min_distance_A, verdict, formula
        FROM dataset ORDER BY max_force_eV_per_A DESC, snapshot_id, level LIMIT 20""",
    "levels-apart": """
        SELECT snapshot_id, level_gap_eV_per_atom, level, cohesive_energy_eV_per_atom, formula
        FROM dataset WHERE level_gap_eV_per_atom IS NOT NULL
        ORDER BY abs(level_gap_eV_per_atom) DESC, snapshot_id, level LIMIT 20""",
    "failures": f"""
        SELECT stage, level, reason, count(*) AS rows
        FROM failures WHERE {LOST} GROUP BY ALL ORDER BY rows DESC, stage, reason, level""",  # noqa: S608 - a reason of ours
}
"""Queries by name: each crystal at each level; largest forces; frames whose levels differ most; losses."""

_NAME = re.compile(r"[\w-]+")


def sql_of(question: str) -> str:
    """Return the query of a question by its name, or the query that was typed.

    Raises
    ------
    UserError
        If one word was typed that is the name of no question.
    """
    if question in QUESTIONS or not _NAME.fullmatch(question.strip()):
        return QUESTIONS.get(question, question)
    near = difflib.get_close_matches(question.strip().lower().replace("_", "-"), QUESTIONS, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UserError(
        f"'{question}' is no question that has a name, and no query in SQL. Questions: "
        f"{', '.join(QUESTIONS)}."
        f'{hint} All rows of a table: "FROM dataset"; "SHOW TABLES" lists the tables.'
    )
