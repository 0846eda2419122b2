"""Checksums of a release and of exports: files changed, lost or added since."""

from pathlib import Path

from pesatlas.campaign.layout import within
from pesatlas.runtime.progress import Progress
from pesatlas.tables.manifest import read_json, sha256_of

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


def check_exports(root: Path) -> list[str]:
    """Return how files of the exports below ``root`` differ from the records of their exports."""
    problems = []
    for record in sorted(root.glob(within("export", format="*"))):
        about = read_json(record)
        if not about:
            problems.append(f"{record} is not readable: changed or truncated. Delete it and run again.")
        for each in about.get("files", []):
            path = record.parent / each["file"]
            if not path.is_file() or sha256_of(path) != each["sha256"]:
                problems.append(
                    f"{path}: lost, or changed since it was exported. Delete {record} and run again (or "
                    f"`pesatlas export {about['format']}`)."
                )
    return problems
