"""Report section on benchmark results."""

import base64
from pathlib import Path
from typing import Any

from pesatlas.campaign.layout import file_name, path_of
from pesatlas.tables import read_table

_VERDICTS = {"good": "✓ good", "fair": "fair", "poor": "✗ poor", "": ""}


def benchmark_results(summary_file: Path) -> dict[str, Any]:
    """Return the tables and the figure of the section, from the summary and what was written with it."""
    summary = read_table(summary_file, "summary").to_pylist()
    differences_file = summary_file.with_name(file_name("benchmark_differences"))
    differences = read_table(differences_file, "differences").to_pylist()
    figure = summary_file.with_name(file_name("benchmark_figure"))
    picture = base64.b64encode(figure.read_bytes()).decode()
    return {
        # as an image, text in it can be no part of the page
        "picture": f"data:image/svg+xml;base64,{picture}",
        "scores": path_of("benchmark_scores"),
        "tables": [
            {
                "title": "Potentials by their uses",
                "heads": [
                    "potential",
                    "trained at",
                    "quantity",
                    "value (95 % interval)",
                    "verdict",
                    "structures",
                    "without a value",
                    "compared with",
                    "published",
                ],
                "rows": [_row(row) for row in summary],
                "empty": "Nothing was measured.",
            },
            {
                "title": "Differences between two potentials, on the structures that both have",
                "heads": [
                    "quantity",
                    "potentials",
                    "difference of errors (95 % interval)",
                    "p (Wilcoxon)",
                    "structures",
                ],
                "rows": [
                    (
                        row["quantity"].replace("_", " "),
                        f"{row['first']} less {row['second']}",
                        _interval(row["difference"], row["low"], row["high"]),
                        f"{row['p_value']:.2g}",
                        row["n"],
                    )
                    for row in differences
                ],
                "empty": "There was only one.",
            },
        ],
    }


def _row(row: dict[str, Any]) -> tuple[Any, ...]:
    value = _interval(row["value"], row["low"], row["high"])
    if row["statistic"] == "half_life" and row["value"] is None and row["n"]:
        value = "more than half survive"
    return (
        row["potential"],
        row["potential_level"],
        f"{row['quantity'].replace('_', ' ')} ({', '.join(filter(None, (row['statistic'], row['unit'])))})",
        value,
        _VERDICTS[row["verdict"]],
        row["n"],
        row["n_failed"],
        row["reference_column"],
        ""
        if row["published"] is None
        else f"{row['published']:g}: {row['published_model']} ({row['published_source']})",
    )


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    ends = ["…" if end is None else f"{end:.3g}" for end in (low, high)]
    return f"{value:.3g} ({ends[0]} to {ends[1]})" if (low, high) != (None, None) else f"{value:.3g}"
