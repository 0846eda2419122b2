"""Crash-safe files: ledgers of results, the content-addressed store, atomic writes, group sharing."""
