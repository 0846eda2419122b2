"""The map of `pesatlas gaps`: a dataset and the compared structures in one picture."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from pesatlas.report.figure import COLOURS, GREY, HEIGHT, WIDTH, theme
from pesatlas.select.coverage_gaps import VERDICTS, worst
from pesatlas.storage.atomic import atomic_path

_DRAWN = 5000


def draw_map(
    path: Path, points: Mapping[str, NDArray[np.float32]], rows: list[dict[str, Any]], names: list[str]
) -> None:
    """Write an HTML page that needs no network, or a PNG.

    The first two principal components of all structures.

    Parameters
    ----------
    points : (frames, k) of ``dataset`` and ``others``; of the dataset at most 5,000 are drawn
    rows : of table ``gaps``
    names : of the others, as in ``rows``
    """
    import vl_convert  # noqa: PLC0415 - slow to import

    verdicts = defaultdict(list)
    for row in rows:
        verdicts[row["structure"]].append(row["verdict"])
    dataset = points["dataset"]
    kept = np.random.default_rng(0).permutation(len(dataset))[:_DRAWN]
    shown = [("dataset", "", *_two(dataset[i])) for i in sorted(kept.tolist())]
    shown += [(worst(verdicts[name]), name, *_two(points["others"][i])) for i, name in enumerate(names)]
    values = [dict(zip(("verdict", "structure", "x", "y"), each, strict=True)) for each in shown]
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_circle(opacity=0.7)
        .encode(
            x=alt.X("x:Q", title="first principal component", scale=alt.Scale(zero=False)),
            y=alt.Y("y:Q", title="second principal component", scale=alt.Scale(zero=False)),
            color=alt.Color(
                "verdict:N",
                title=None,
                scale=alt.Scale(
                    domain=["dataset", *VERDICTS], range=[GREY, COLOURS[0], COLOURS[4], COLOURS[1]]
                ),
            ),
            size=alt.condition("datum.verdict == 'dataset'", alt.value(14), alt.value(60)),
            tooltip=["structure:N", "verdict:N"],
        )
        .properties(width=WIDTH, height=HEIGHT, title="What the dataset covers")
    )
    spec = chart.to_dict() | {"config": theme(dark=False)}
    with atomic_path(path) as temporary:
        if path.suffix == ".html":
            temporary.write_text(vl_convert.vegalite_to_html(spec, bundle=True), encoding="utf-8")
        else:
            temporary.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))


def _two(point: NDArray[np.float32]) -> tuple[float | None, float | None]:
    """Return the first two components, zero where there is only one.

    Null where the encoder could not describe it.
    """
    found = [float(x) if np.isfinite(x) else None for x in point[:2]]
    first, second = (*found, 0.0)[:2]
    return first, second
