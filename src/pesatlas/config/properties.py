"""What the options of most benchmark properties have in common: which structures of a file they are measured on."""

from typing import Any

from pydantic import Field

from pesatlas.config.section import Section

_CHOICE = frozenset({"file", "structures", "max_atoms"})


class FromFile(Section):
    """Structures of a file in matcalc's formats, in an order that is the same everywhere."""

    file: str | None = Field(
        None, description="file in the folder of data; null: the usual names of this property are looked for"
    )
    structures: int | None = Field(
        None, ge=1, description="at most so many, drawn by a hash of their ids; null: all"
    )
    max_atoms: int | None = Field(None, ge=1, description="only cells of at most so many atoms; null: all")

    def settings(self) -> dict[str, Any]:
        """Return what decides the result of a structure: all but which structures there are."""
        return {key: value for key, value in self.identity().items() if key not in _CHOICE}
