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
        try:
            kind, files = about["format"], {each["file"]: each["sha256"] for each in about["files"]}
        except (KeyError, TypeError):  # of a name with a flipped bit, too
            problems.append(f"{record} is not readable: changed or truncated. Delete it and run again.")
            continue
        problems += [
            f"{record.parent / name}: lost, or changed since it was exported. Delete {record} and run again "
            f"(or `pesatlas export {kind}`)."
            for name, sha256 in files.items()
            if not (record.parent / name).is_file() or sha256_of(record.parent / name) != sha256
        ]
    return problems
