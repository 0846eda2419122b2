"""The floors and rooms of the library, and the picture of their imports: ``python tests/house.py`` draws it
again."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "pesatlas"
PICTURE = ROOT / "docs" / "images" / "imports.svg"

DOORS = ("cli", "monitor", "testing")
STAGES = ("structures", "explore", "encode", "select", "label", "dataset", "train", "benchmark", "report")
TOOLS = ("dynamics", "levels", "potentials", "frames")
CAMPAIGN = ("campaign", "config")
GROUND = ("tables", "storage", "runtime", "atoms", "errors.py")
FLOORS = (
    ("ground", GROUND),
    ("config", ("config",)),
    ("campaign", ("campaign",)),
    ("tools", TOOLS),
    ("stages", STAGES),
    ("doors", DOORS),
)
FLOOR = {room: height for height, (_, rooms) in enumerate(FLOORS) for room in rooms} | {
    "__init__.py": 5  # the front door: pesatlas.open
}

_CELL, _LEFT, _TOP = 19, 196, 100
_COLOURS = {
    "doors": "#efe3f5",
    "stages": "#dcebf7",
    "tools": "#dff1e4",
    "campaign": "#fbf0d4",
    "config": "#fbf0d4",
    "ground": "#ebe7e1",
}


def room_of(module: str) -> str:
    """Return the room of a module: a folder of the library, or a loose file."""
    room = module.split(".")[1]
    return room if (SOURCE / room).is_dir() else f"{room}.py"


def imports(path: Path) -> Iterator[str]:
    """Yield the room of everything that a file imports from the library, within functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pesatlas."):
            yield room_of(node.module)
        elif isinstance(node, ast.Import):
            yield from (room_of(name.name) for name in node.names if name.name.startswith("pesatlas."))


def rooms_imported() -> set[tuple[str, str]]:
    """Return pairs of rooms, the first of which imports the second."""
    return {
        (room, target)
        for path in SOURCE.rglob("*.py")
        for room in [path.relative_to(SOURCE).parts[0]]
        for target in imports(path)
        if target != room
    }


def rooms_loaded_by_name() -> set[str]:
    """Return rooms that ``config`` loads extensions from, by the name that a configuration gives."""
    text = "".join(path.read_text() for path in (SOURCE / "config").glob("*.py"))
    return {room_of(package) for package in re.findall(r'"(pesatlas\.\w+\.\w+)"', text)}


def draw() -> str:
    """Return the picture: a row for each room, a column for each room, a dot where the row imports the
    column."""
    floors = [*reversed(FLOORS)]
    rooms = [room for _, members in floors for room in members]
    at = {room: i for i, room in enumerate(rooms)}
    end = len(rooms) * _CELL
    width, font = _LEFT + end + 36, 'font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_TOP + end + 44}" {font}>',
        (
            "<title>Imports between the rooms of pesatlas: every dot lies right of the diagonal, or on its "
            "own "
            "floor</title>"
        ),
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for name, members in floors:
        start, size = at[members[0]] * _CELL, len(members) * _CELL
        colour = _COLOURS[name]
        parts += [
            (
                f'<rect x="8" y="{_TOP + start}" width="{_LEFT + end - 8}" height="{size}" fill="{colour}" '
                'opacity="0.45"/>'
            ),
            (
                f'<rect x="{_LEFT + start}" y="{_TOP + start}" width="{size}" height="{size}" '
                f'fill="{colour}" '
                'stroke="#999"/>'
            ),
            f'<text x="14" y="{_TOP + start + size / 2 + 4:g}" font-weight="bold">{name}</text>',
        ]
    for room, i in at.items():
        middle, word = i * _CELL + _CELL / 2, escape(room.removesuffix(".py"))
        parts += [
            f'<text x="{_LEFT - 8}" y="{_TOP + middle + 4:g}" text-anchor="end">{word}</text>',
            f'<text transform="translate({_LEFT + middle + 4:g} {_TOP - 8}) rotate(-60)">{word}</text>',
        ]
    for here, there in sorted(rooms_imported(), key=str):
        if here in at and there in at:
            parts.append(_dot(at[here], at[there], 'fill="#1f3a5f"'))
    parts += [
        _dot(at["config"], at[room], 'fill="none" stroke="#b03a2e" stroke-width="1.5"')
        for room in sorted(rooms_loaded_by_name() - {"config"})
    ]
    below = _TOP + end + 26
    parts += [
        f'<circle cx="{_LEFT + 6}" cy="{below - 4}" r="4" fill="#1f3a5f"/>',
        f'<text x="{_LEFT + 16}" y="{below}">the row imports the column</text>',
        (
            f'<circle cx="{_LEFT + 206}" cy="{below - 4}" r="4" fill="none" stroke="#b03a2e" '
            'stroke-width="1.5"/>'
        ),
        f'<text x="{_LEFT + 216}" y="{below}">extensions, loaded by name</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _dot(row: int, column: int, style: str) -> str:
    x, y = (start + i * _CELL + _CELL / 2 for start, i in ((_LEFT, column), (_TOP, row)))
    return f'<circle cx="{x:g}" cy="{y:g}" r="4" {style}/>'


if __name__ == "__main__":
    PICTURE.write_text(draw())
