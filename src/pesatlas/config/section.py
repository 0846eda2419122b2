"""Base classes of every section of the configuration."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def identity(self) -> dict[str, Any]:
        """Return what decides results, as plain JSON: every value but those declared with ``Runtime``."""
        kept: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            if not (isinstance(extra, dict) and extra.get("runtime")):
                kept[name] = plain(getattr(self, name))
        return kept


def plain(value: Any) -> Any:
    """Return a value of a section as plain JSON: of sections, what decides results."""
    if isinstance(value, Section):
        return value.identity()
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def Runtime(default: Any, **kwargs: Any) -> Any:  # noqa: N802 - reads like pydantic's Field
    """Return a field that says how to compute, not what: changing it reruns nothing and changes no key."""
    return Field(default, json_schema_extra={"runtime": True}, **kwargs)


def digest(*parts: Any, length: int = 16) -> str:
    """Hexadecimal hash of JSON-like values: the same in every process and on every machine."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
