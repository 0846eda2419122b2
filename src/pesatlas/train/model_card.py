"""Model card of a trained potential."""

from collections.abc import Mapping, Sequence
from typing import Any

_HEADS = ("rows", "energy (meV/atom)", "forces (meV/Å)", "stress (GPa)", "moments (μB)")
_KEYS = ("rows", "energy_mae_meV_per_atom", "force_mae_meV_per_A", "stress_mae_GPa", "magmom_mae_muB")
_GUESSES = {
    "trained": "this potential",
    "untrained": "before it was trained",
    "base": "the base, before it was fine-tuned",
    "means": "no model: energies of elements by least squares, no forces, the mean stress",
}


def page(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    data, training, gate = card["data"], card["training"], card["gate"]
    rows = ", ".join(f"{count} {split}" for split, count in data["rows"].items())
    settings = card["settings"]
    made = (
        f"fine-tuned from weights {card['base_sha256'][:16]}"
        if card["base_sha256"]
        else f"{settings['architecture']['kind']}, trained from scratch"
    )
    parts = [
        f"# {card['name']}",
        (
            f"A potential of level **{card['level']}** (fingerprint {', '.join(card['level_fingerprints'])}): {made}, with "
            f"matgl {card['versions']['matgl']} and pesatlas {card['versions']['pesatlas']}."
        ),
        *(f"**Warning: {each}.**" for each in card["caveats"]),
        _table(
            ("", ""),
            [
                ("elements", " ".join(card["elements"])),
                ("weights (sha256)", f"`{card['weights_sha256']}`"),
                (
                    "dataset",
                    f"campaign {data['campaign']}; rows: {rows}; sha256 {', '.join(data['sha256'].values())}",
                ),
                ("energies measured against", _against(card)),
                ("scale of forces", f"{card['scaling']['data_std_eV']:.4g} eV/Å"),
                ("seed", str(card["seed"])),
                (
                    "trained",
                    f"{training['epochs']} epochs, {training['steps']} steps; weights of epoch {training['best_epoch']}",
                ),
                ("fit to explore", "yes: it passed the gate" if gate["passed"] else "**no**, see below"),
            ],
        ),
        '```python\nimport matgl\n\npotential = matgl.load_model("FOLDER")\n```',
        f"```yaml\nexplore:\n  potential: {{kind: matgl, path: FOLDER, sha256: {card['weights_sha256']}}}\n```",
        "## Errors",
        "Mean absolute errors at level " + card["level"] + " on rows that it was not trained on.",
    ]
    for split in ("valid", "test", "kept"):
        scores = [each for each in card["scores"] if each["split"] == split]
        if not scores:
            continue
        total = [each for each in scores if each["group"] == "all"]
        about = " (retention set: rows of another dataset, to measure forgetting)" if split == "kept" else ""
        parts += [
            f"### Split {split}{about}",
            _scores(("potential", *_HEADS), total, lambda each: _GUESSES[each["of"]]),
        ]
        for group in ("domain", "element"):
            mine = [each for each in scores if each["group"] == group and each["of"] == "trained"]
            parts.append(_scores((group, *_HEADS), mine, lambda each: each["name"]))
    if not card["scores"]:
        parts.append("None: the splits valid and test are empty.")
    if not gate["passed"]:
        parts += ["## Why it cannot explore", f"```text\n{gate['said']}\n```"]
    return "\n\n".join(parts) + "\n"


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
