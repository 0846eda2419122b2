"""Tables are the contract between stages.

Parquet with explicit schemas, written atomically, with manifests.
"""

from pesatlas.tables.io import TableWriter, iter_table, read_table, write_table
from pesatlas.tables.manifest import Entry, check_entry, read_entry
from pesatlas.tables.schemas import SCHEMAS, FailureReason

__all__ = [
    "SCHEMAS",
    "Entry",
    "FailureReason",
    "TableWriter",
    "check_entry",
    "iter_table",
    "read_entry",
    "read_table",
    "write_table",
]
