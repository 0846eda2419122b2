"""`pesatlas benchmark`: benchmark any potential, without a campaign."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from pesatlas.benchmark.benchmarked import BenchmarkedPotential, benchmarked_potential
from pesatlas.benchmark.measure import Workspace, check_data, measure
from pesatlas.benchmark.score import write_scores
from pesatlas.benchmark.structure_sets import Sources
from pesatlas.campaign.layout import file_name
from pesatlas.cli.app import print_json
from pesatlas.config import plugins
from pesatlas.config.benchmark import PROPERTIES, suite
from pesatlas.errors import UserError
from pesatlas.potentials.device import check_device
from pesatlas.potentials.loading import POTENTIALS, fetch_potential, load_potential

_COLOURS = {"good": "green", "fair": "yellow", "poor": "red"}


def benchmark_potentials(
    potentials: list[str],
    out: Path,
    *,
    which: Any,
    only: list[str],
    sources: Sources,
    corrected: bool | None,
    device: str,
    console: Console,
    as_json: bool = False,
) -> None:
    """Measure, write tables and a figure into ``out``, and show the summary; run again, it carries on.

    Parameters
    ----------
    potentials : as ``read_potential`` takes them
    out : folder to write to
    which : suite
    only : kinds of properties; none: all of the suite that there are data for
    sources : structures and references, but for ``corrected``
    corrected : overrides what is known of the potentials
    device : cpu, cuda, cuda:1

    Raises
    ------
    UserError
        If a potential, a property or its data are not there.
    """
    check_device(device, "--device")
    chosen = _properties(which, only, sources)
    benchmarked = _named([read_potential(text, corrected) for text in potentials])
    check_data(chosen, sources)
    place = Workspace.on(device, out / "store", out / "work")
    rows = []
    for each in benchmarked:
        fetch_potential(each.options)
        potential = load_potential(each.options, device)
        own = Sources(sources.data, sources.dataset, sources.level, each.corrected, sources.seed)
        for options in chosen:
            rows += measure(each, potential, options, own, place)
    summary = write_scores(rows, out)
    failed = [row for row in rows if row["reason"] is not None]
    if as_json:
        print_json({"folder": str(out), "rows": len(rows), "failed": len(failed), "summary": summary})
        return
    console.print(
        _table(summary)
        if summary
        else "Nothing was measured: there are no structures or frames to measure on."
    )
    if failed:
        console.print(
            f"{len(failed)} of {len(rows)} have no value; their reasons are in "
            f"{out / file_name('benchmark_scores')}."
        )
    console.print(f"Tables and {file_name('benchmark_figure')} are in {out}.")


def read_potential(text: str, corrected: bool | None = None) -> BenchmarkedPotential:
    """Return the potential that ``text`` names.

    ``kind``, ``kind:folder or version``, or a YAML or JSON file of options.

    Raises
    ------
    UserError
        If there is no such kind, or its options are wrong.
    """
    path = Path(text)
    if path.suffix in {".yaml", ".yml", ".json"}:
        try:
            options = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"--potential {text}: not valid YAML or JSON ({error}).") from None
        if not isinstance(options, dict) or "kind" not in options:
            raise UserError(f"--potential {text}: give options as in explore.potential, including `kind`.")
        kind, name = str(options["kind"]), path.stem
    else:
        kind, _, rest = text.partition(":")
        options = {"kind": kind}
        fields = getattr(plugins.find(POTENTIALS, kind), "Options").model_fields  # noqa: B009 - as mypy sees modules
        if rest:
            key = next((key for key in ("path", "version") if key in fields), None)
            if key is None:
                raise UserError(
                    f"--potential {text}: '{kind}' accepts nothing after its name; pass a YAML file of "
                    "options."
                )
            options[key] = rest
        name = f"{kind}-{Path(rest).name}" if rest else kind
    adapter: TypeAdapter[Any] = TypeAdapter(plugins.find(POTENTIALS, kind).Options)
    try:
        checked = adapter.validate_python(options)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}".lstrip(": ") for e in error.errors()
        )
        raise UserError(f"--potential {text}: {problems}.") from None
    check = getattr(plugins.find(POTENTIALS, kind), "check", None)
    if check is not None:
        check(checked)
    return benchmarked_potential(name, checked, corrected)


def _named(benchmarked: list[BenchmarkedPotential]) -> list[BenchmarkedPotential]:
    names = [each.name for each in benchmarked]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise UserError(
            f"--potential: {', '.join(double)} occurs twice. Pass files of options with different names; a "
            "potential is named after its file."
        )
    return benchmarked


def _properties(which: Any, only: list[str], sources: Sources) -> list[Any]:
    """Return the options of those properties that are wanted.

    Of a suite, what needs frames of a dataset waits for --dataset.
    """
    options = suite(which)
    if only:
        return [options.get(kind) or plugins.find(PROPERTIES, kind).SUITES[which] for kind in only]
    return [
        each
        for kind, each in options.items()
        if sources.dataset is not None or not getattr(plugins.find(PROPERTIES, kind), "NEEDS_DATASET", False)
    ]


def _table(summary: list[dict[str, Any]]) -> Table:
    models = sorted({row["published_model"] for row in summary if row["published"] is not None})
    said = f"; published: of {', '.join(models)}" if models else ""
    table = Table(title="How good are they?", caption=f"intervals: 95 %, bootstrap over structures{said}")
    for head in ("potential", "what", "value", "structures", "published"):
        table.add_column(head, overflow="fold")
    last = None
    for row in sorted(summary, key=lambda row: (row["property"], row["quantity"], row["potential"])):
        what = (
            row["quantity"].replace("_", " "),
            ", ".join(filter(None, (row["statistic"].replace("_", " "), row["unit"]))),
        )
        if last not in {None, what}:
            table.add_section()
        last = what
        colour = _COLOURS.get(row["verdict"])
        value = "more than half survive" if row["value"] is None and row["n"] else _shown(row["value"])
        value = f"[{colour}]{value}[/{colour}]" if colour else value
        ends = f" ({_shown(row['low'])} to {_shown(row['high'])})" if row["low"] is not None else ""
        table.add_row(
            row["potential"],
            f"{what[0]} ({what[1]})",
            f"{value}{ends}",
            f"{row['n']} of {row['n'] + row['n_failed']}",
            f"{row['published']:g}" if row["published"] is not None else "",
        )
    return table


def _shown(number: float | None) -> str:
    return "-" if number is None else f"{number:.3g}"
