"""The comment line of extended XYZ: keys and values as text, as in the file.

The grammar is that of ASE (``key=value``, values in quotes, brackets or braces, backslashes that escape, a
key alone is ``T``), but a value is not turned into a number, a boolean or an array: an id such as
``0012345``, ``12e4``, ``T`` or ``[1,2]`` is text.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PLAIN = re.compile(r"""\s*([^\s="'{}\[\]\\]+)=(?:"([^"\\]*)"|([^\s="'{}\[\]\\]+))(?=\s|$)""")
_CLOSING = {'"': '"', "'": "'", "{": "}", "[": "]"}
_SPACE, _EQUALS = "space", "equals"  # no single characters
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/+-]*")
_OTHER_THAN_TEXT = {"t", "f", "true", "false", "nan", "inf", "infinity"}
_JSON = "_JSON "
_OWN = "pesatlas_"
_SEPARATORS = re.compile(r"[\s,\[\]{}]+")


def parse_comment(line: str) -> dict[str, str]:
    """Return keys and values of a comment line; of a key that stands twice in free text, the last value.

    Raises
    ------
    ValueError
        If there is a lattice in it, and a quote or bracket that is not closed or a key with two values; in
        free text (``it's water``) that is no fault.
    """
    line = line.strip()
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(line):
        pair = _PLAIN.match(line, at)
        if pair is None:
            found = _parse_slowly(line)
            break
        found.append((pair[1], pair[3] if pair[2] is None else pair[2]))
        at = pair.end()
    values = {key: _text(value) for key, value in found}
    if len(values) < len(found) and "lattice" in line.lower():
        for key, value in found:
            _check_twice(key, _text(value), values[key])
    return values


def _check_twice(key: str, first: str, last: str) -> None:
    """Refuse two values of one key, but for notes of our own.

    A frame that is selected again has those of both times.
    """
    if first == last or key.startswith(_OWN):
        return
    try:
        same = np.array_equal(floats_of(first), floats_of(last))
    except ValueError:
        same = False
    if not same:
        raise ValueError(f"{key} occurs twice, as '{first}' and as '{last}'")


def _text(value: str) -> str:
    """Return text that ASE wrote as JSON as the text that it was."""
    if value.startswith(f'{_JSON}"'):
        try:
            decoded = json.loads(value.removeprefix(_JSON))
        except ValueError:
            return value
        return decoded if isinstance(decoded, str) else value
    return value


def _parse_slowly(line: str) -> list[tuple[str, str]]:
    """Go through a line sign by sign, as ASE does; brackets and braces stay part of a value."""
    pairs: list[list[str]] = [[""]]
    for sign in _signs(line):
        if sign == _SPACE:
            if pairs[-1][-1]:
                pairs.append([""])
        elif sign == _EQUALS:
            if pairs[-1] == [""] and len(pairs) > 1:
                pairs.pop()  # spaces before the sign
            pairs[-1].append("")
        else:
            pairs[-1][-1] += sign
    return [(key, "=".join(value) if value else "T") for key, *value in pairs if key]


def _signs(line: str) -> Iterator[str]:
    """Yield characters of text, and marks for spaces and equals signs outside quotes and brackets."""
    closing = ""
    characters = iter(line)
    for char in characters:
        if char == "\\":
            yield next(characters, "")
        elif closing:
            if char != closing or char in "]}":
                yield char
            closing = "" if char == closing else closing
        elif char in _CLOSING:
            closing = _CLOSING[char]
            if closing in "]}":
                yield char
        elif char == "=":
            yield _EQUALS
        else:
            yield _SPACE if char.isspace() else char
    if closing and "lattice" in line.lower():
        raise ValueError(f"{closing} is missing: a quote or bracket is not closed")


def floats_of(value: Any) -> NDArray[np.float64]:
    """Return all numbers of a value, one after the other: of text, of JSON in text, of a list or an array.

    Raises
    ------
    ValueError
        If something in it is no number.
    """
    if isinstance(value, str):
        if value.startswith(_JSON):
            value = json.loads(value.removeprefix(_JSON))
        else:
            value = [part for part in _SEPARATORS.split(value) if part]
    return np.asarray(value, dtype=float).reshape(-1)


def as_value(text: str) -> str:
    """Return text as a value of ``Atoms.info`` that ASE writes and reads back as this very text.

    ASE reads ``0012345`` as a number and ``T`` as a boolean; its own form ``_JSON "0012345"`` stays text.
    """
    if _WORD.fullmatch(text) and text.lower() not in _OTHER_THAN_TEXT:
        return text
    from ase.io.extxyz import escape, key_val_str_to_dict  # noqa: PLC0415 - slow to import

    try:
        same = key_val_str_to_dict(f"x={escape(text)}") == {"x": text}
    except ValueError:
        same = False
    return text if same else f"{_JSON}{json.dumps(text)}"
