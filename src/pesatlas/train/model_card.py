"""Model card of a trained potential."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pesatlas.runtime.templates import render

_HEADS = ("rows", "energy (meV/atom)", "forces (meV/Å)", "stress (GPa)", "moments (μB)")
_KEYS = ("rows", "energy_mae_meV_per_atom", "force_mae_meV_per_A", "stress_mae_GPa", "magmom_mae_muB")
_GUESSES = {
    "trained": "this potential",
    "untrained": "before it was trained",
    "base": "the base, before it was fine-tuned",
    "means": "no model: energies of elements by least squares, no forces, the mean stress",
}


_SPLITS = {
    "valid": "",
    "test": "",
    "kept": " (retention set: rows of another dataset, to measure forgetting)",
}
_TEMPLATE = Path(__file__).with_name("model_card.md.j2")


def page(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    made = (
        f"fine-tuned from weights {card['base_sha256'][:16]}"
        if card["base_sha256"]
        else f"{card['settings']['architecture']['kind']}, trained from scratch"
    )
    values = {
        "card": card,
        "made": made,
        "rows": ", ".join(f"{count} {split}" for split, count in card["data"]["rows"].items()),
        "against": _against(card),
        "splits": [
            {"name": split, "remark": remark, "tables": tables}
            for split, remark in _SPLITS.items()
            if (tables := _tables(card, split))
        ],
    }
    return render(_TEMPLATE, values)


def _tables(card: Mapping[str, Any], split: str) -> list[str]:
    """Return errors on a split: of the potential and its baselines, then by domain and by element."""
    scores = [each for each in card["scores"] if each["split"] == split]
    if not scores:
        return []
    total = [each for each in scores if each["group"] == "all"]
    trained = [each for each in scores if each["of"] == "trained"]
    return [
        _scores(("potential", *_HEADS), total, lambda each: _GUESSES[each["of"]]),
        *(
            _scores(
                (group, *_HEADS),
                [each for each in trained if each["group"] == group],
                lambda each: each["name"],
            )
            for group in ("domain", "element")
        ),
    ]


def _against(card: Mapping[str, Any]) -> str:
    words = {
        "atoms": "isolated atoms at this level",
        "fit": "energies of elements fitted to the split train",
        "base": "the references of the base",
    }
    return words[card["references"]["from"]]


def _scores(heads: Sequence[str], scores: Sequence[Mapping[str, Any]], name: Any) -> str:
    return _table(heads, [(name(each), *(_number(each[key]) for key in _KEYS)) for each in scores])


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
