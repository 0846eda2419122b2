"""Checksums of a release: files changed, lost or added since."""

from pathlib import Path

from pesatlas.runtime.progress import Progress
from pesatlas.tables.manifest import sha256_of

SUMS = "SHA256SUMS"


def check_release(root: Path) -> list[str]:
    """Return how the files of a release differ from its checksums: changed, lost, added."""
    known = {}
    for line in (root / SUMS).read_text(encoding="utf-8").splitlines():
        sha, _, name = line.partition("  ")
        known[name] = sha
    there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - {SUMS}
    problems = [f"{root / name}: lost since the release" for name in sorted(known.keys() - there)]
    problems += [f"{root / name}: is not part of the release" for name in sorted(there - known.keys())]
    both = sorted(known.keys() & there)
    progress = Progress("files of the release", len(both))
    for name in both:
        if sha256_of(root / name) != known[name]:
            problems.append(f"{root / name}: changed since the release, or truncated")
        progress.step()
    return problems
