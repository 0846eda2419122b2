"""Training history and test errors of the trained potential."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt

from pesatlas.campaign.layout import RESULTS, file_name, folder_of
from pesatlas.report.figure import COLOURS, GREY, Data, Figure
from pesatlas.report.report_verdict import Verdict
from pesatlas.tables import read_table

_ERRORS = {
    "energy_mae_meV_per_atom": "energy (meV/atom)",
    "force_mae_meV_per_A": "forces (meV/Å)",
    "stress_mae_GPa": "stress (GPa)",
    "magmom_mae_muB": "moments (μB)",
}
_GUESSES = {
    "trained": "trained",
    "untrained": "before training",
    "base": "base, before fine-tuning",
    "means": "no model",
}
_CARDS, _HISTORIES = (
    f"{folder_of(name)}/*/{file_name(name)}" for name in ("potential_card", "potential_history")
)
_SPLITS = ("test", "valid", "kept")


class Trained:
    """The potentials of a campaign, from their cards and histories.

    Parameters
    ----------
    folders : of the potentials
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._cards = [
            json.loads((folder / file_name("potential_card")).read_text(encoding="utf-8"))
            for folder in folders
        ]
        self._histories = [
            read_table(folder / file_name("potential_history"), "history").to_pylist() for folder in folders
        ]

    def data(self) -> dict[str, Data]:
        """Return the rows behind the figures, by name."""
        curves: dict[str, list[Any]] = {name: [] for name in ("potential", "split", "epoch", "loss")}
        for card, history in zip(self._cards, self._histories, strict=True):
            for split in ("train", "valid"):
                known = [row for row in history if row[f"{split}_loss"] is not None]
                curves["potential"] += [card["name"]] * len(known)
                curves["split"] += [split] * len(known)
                curves["epoch"] += [row["epoch"] + 1 for row in known]
                curves["loss"] += [row[f"{split}_loss"] for row in known]
        errors: dict[str, list[Any]] = {
            name: [] for name in ("potential", "level", "split", "of", "what", "error")
        }
        for card in self._cards:
            for score in self._totals(card):
                for name, what in _ERRORS.items():
                    if score[name] is not None:
                        values = (
                            card["name"],
                            score["level"],
                            score["split"],
                            _GUESSES[score["of"]],
                            what,
                            score[name],
                        )
                        for column, value in zip(errors.values(), values, strict=True):
                            column.append(value)
        return {
            "learning": Data(curves, len(curves["epoch"]), "values"),
            "trained_errors": Data(errors, len(errors["error"]), "errors"),
        }

    @staticmethod
    def figures(data: dict[str, Data]) -> list[Figure]:
        """Return the figures of the section."""
        return [_learning(data["learning"]), _errors(data["trained_errors"])]

    def tables(self) -> list[dict[str, Any]]:
        """Return errors on rows that were not trained on."""
        rows = [
            (
                card["name"],
                score["level"],
                score["split"],
                _GUESSES[score["of"]],
                score["rows"],
                *("-" if score[name] is None else f"{score[name]:.3g}" for name in _ERRORS),
            )
            for card in self._cards
            for score in self._totals(card)
        ]
        return [
            {
                "title": "Errors on rows that were not used in training",
                "heads": ["potential", "level", "split", "of", "rows", *_ERRORS.values()],
                "rows": rows,
                "empty": "The splits valid and test are empty.",
            }
        ]

    def verdict(self) -> Verdict:
        """Return the verdict: errors beside those of the base, or without a model."""
        question = "Do potentials learn from it?"
        told, well = [], True
        for card in self._cards:
            scores = self._totals(card)
            for split in ("test", "valid"):
                of = {score["of"]: score for score in scores if score["split"] == split}
                before = of.get("base") or of.get("means")
                if "trained" not in of or not (before and before["force_mae_meV_per_A"]):
                    continue
                shares = {
                    name.partition("_")[0]: of["trained"][name] / before[name]
                    for name in _ERRORS
                    if before[name] and of["trained"][name] is not None
                }
                worse = [name for name, share in shares.items() if share >= 1]
                well = well and not worse
                told.append(
                    f"{card['name']}: force error {of['trained']['force_mae_meV_per_A']:.3g} meV/Å on the "
                    f"split {split}, {100 * shares['force']:.0f} % of that "
                    f"{'of its base' if 'base' in of else 'without a model'}"
                    + (f"; not better than that: {', '.join(worse)}" if worse else "")
                )
                break
        if not told:
            return Verdict(question, "not known", "Not known: no row was kept from training.")
        return Verdict(question, "fine" if well else "look", f"{'; '.join(told)}.")

    @staticmethod
    def _totals(card: dict[str, Any]) -> list[dict[str, Any]]:
        scores = [score for score in card["scores"] if score["group"] == "all"]
        return sorted(scores, key=lambda score: _SPLITS.index(score["split"]))


def _learning(curves: Data) -> Figure:
    chart = (
        alt.Chart(alt.NamedData("learning"))
        .mark_line(point=len(curves) < 200)
        .encode(
            x=alt.X("epoch:Q", title="epochs"),
            y=alt.Y("loss:Q", title="loss", scale=alt.Scale(type="log")),
            color=alt.Color("potential:N", title=None),
            strokeDash=alt.StrokeDash("split:N", title="split", scale=alt.Scale(domain=["valid", "train"])),
            tooltip=["potential:N", "split:N", "epoch:Q", "loss:Q"],
        )
    )
    return Figure(
        "learning",
        "Learning curves",
        "Training loss after each epoch: of the split valid, which decides on early stopping, "
        "and of the split train, while weights changed. Diverging curves mean overfitting; "
        "falling curves mean that more epochs would help.",
        "learning",
        _HISTORIES,
        f"SELECT level, seed, epoch, train_loss, valid_loss FROM '{RESULTS}/{_HISTORIES}'",  # noqa: S608 - our own paths
        chart if len(curves) else None,
        "Nothing was trained.",
    )


def _errors(errors: Data) -> Figure:
    guesses = [guess for guess in _GUESSES.values() if guess in errors.columns["of"]]
    colours = {
        "trained": COLOURS[0],
        "no model": GREY,
        "before training": COLOURS[1],
        "base, before fine-tuning": COLOURS[1],
    }
    shown = "test" if "test" in errors.columns["split"] else "valid"
    chart = (
        alt.Chart(alt.NamedData("trained_errors"))
        .transform_filter(f"datum.split == '{shown}'")
        .mark_point(size=90, filled=True, opacity=0.8)
        .encode(
            x=alt.X("error:Q", title="mean absolute error, in the unit of each", scale=alt.Scale(type="log")),
            y=alt.Y("what:N", title=None, sort=None),
            color=alt.Color(
                "of:N",
                title=None,
                scale=alt.Scale(domain=guesses, range=[colours[guess] for guess in guesses]),
            ),
            tooltip=["potential:N", "level:N", "split:N", "of:N", "what:N", "error:Q"],
        )
    )
    return Figure(
        "trained_errors",
        f"Errors on the split {shown}",
        "Errors of each potential on labels of its own level that were not used in training, compared with "
        "its errors before training and with those of a trivial model: energies of elements by least "
        "squares, no forces, the mean stress. Further left is better. By domain and element: "
        f"{folder_of('potential_page')}/*/{file_name('potential_page')}.",
        "trained_errors",
        _CARDS,
        f"SELECT name, unnest(scores, recursive := true) FROM read_json('{RESULTS}/{_CARDS}')",  # noqa: S608 - our own paths
        chart if len(errors) else None,
        "The splits valid and test are empty.",
    )
