"""Extensions of other distributions that a configuration uses."""

from collections.abc import Iterator, Mapping
from typing import Any

from pesatlas.config import plugins
from pesatlas.config.dataset import EXPORTERS
from pesatlas.config.plugins import EXTENSIONS, Plugin


def plugins_in(configuration: Mapping[str, Any]) -> list[Plugin]:
    """Return whose extensions a configuration uses, each once, in its order; ours are not among them.

    Parameters
    ----------
    configuration : as ``Campaign.model_dump`` gives it, or as a manifest keeps it
    """
    found = [plugins.plugin(package, kind) for package, kind in _kinds(configuration, "")]
    return list(dict.fromkeys(each for each in found if each is not None))


def _kinds(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield package and name of every extension below ``path``."""
    if path == "dataset.exports.formats":
        yield from ((EXPORTERS, name) for name in value)
    elif isinstance(value, list):
        for each in value:
            yield from _kinds(each, path)
    elif isinstance(value, Mapping):
        if path in EXTENSIONS and "kind" in value:
            yield EXTENSIONS[path], value["kind"]
        for name, each in value.items():
            yield from _kinds(each, f"{path}.{name}".lstrip("."))
