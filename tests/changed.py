"""Folders of tests of what changed since the branch left main: for `make quick`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Tests of what is no room of the library.
_OTHERS = {
    "workflow": "workflow",
    "scripts": "workflow",
    "profiles": "workflow",
    "Snakefile": "workflow",
    "docs": "docs",
    "README.md": "docs",
    "CONTRIBUTING.md": "docs",
    ".github": "docs",
    "config": "config",
    "config.yaml": "config",
}


def changed_files():
    """Paths that differ from main's last common commit, committed or not."""

    def git(*arguments):
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()

    known = git("branch", "--list", "--format=%(refname:short)", "main")
    since = git("merge-base", "main", "HEAD")[0] if known else "HEAD"
    return git("diff", "--name-only", since) + git("ls-files", "--others", "--exclude-standard")


def folders(paths):
    """Folders of tests for changed files; the rules of the house are always among them."""
    found = {"repository"}
    for path in map(Path, paths):
        top, room = path.parts[0], path.parts[min(2, len(path.parts) - 1)]
        if top == "src":
            found.add(room)
        elif top == "tests":
            found.add(path.parts[1])
        else:
            found.add(_OTHERS.get(top, "repository"))
    return sorted(f"tests/{name}" for name in found if (ROOT / "tests" / name).is_dir())


if __name__ == "__main__":
    stage = sys.argv[1] if len(sys.argv) > 1 else ""
    print(*([f"tests/{stage}"] if stage else folders(changed_files())))  # noqa: T201 - make reads it
