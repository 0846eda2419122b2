"""Base classes of every section of the configuration."""

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

HomePath = Annotated[Path, AfterValidator(Path.expanduser)]
"""A path in the configuration, ``~`` expanded."""
HomeText = Annotated[str, AfterValidator(os.path.expanduser)]
"""A path or pattern in the configuration, kept as it is written but for ``~``."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide results, as plain JSON: all but those declared with ``Runtime``."""
        deciding: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            if not (isinstance(extra, dict) and extra.get("runtime")):
                deciding[former_name(field) or name] = plain(getattr(self, name))
        return deciding

    @classmethod
    def field_stored_as(cls, key: str) -> str:
        """Return the name of the field that ``identity`` calls ``key``."""
        return next((name for name, field in cls.model_fields.items() if former_name(field) == key), key)


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
    """Return a field without influence on results: changing it reruns nothing and changes no key."""
    return Field(default, json_schema_extra={"runtime": True}, **kwargs)


def Renamed(default: Any, *, now: str, before: str, **kwargs: Any) -> Any:  # noqa: N802 - as Runtime
    """Return a field ``now`` that was called ``before``: configurations may use either name.

    ``identity`` keeps the former name, so that keys of finished results stay as they are.
    """
    return Field(default, validation_alias=AliasChoices(now, before), **kwargs)


def former_name(field: FieldInfo) -> str | None:
    """Return the former name of a field declared with ``Renamed``."""
    alias = field.validation_alias
    return str(alias.choices[-1]) if isinstance(alias, AliasChoices) else None


def digest(*parts: Any, length: int = 16) -> str:
    """Hexadecimal hash of JSON-like values: the same in every process and on every machine."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
