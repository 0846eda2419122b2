"""The wheel carries the workflow, which lies at the top level of the repository: `pesatlas run` then works in any folder.

All else is in pyproject.toml, which can name no files outside of a package.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

WORKFLOW = ("Snakefile", "workflow", "scripts", "profiles", "envs")
ROOT = Path(__file__).parent


class WithWorkflow(build_py):
    """Copy the workflow into the package that is built; an editable install uses that of the checkout."""

    def run(self) -> None:
        """Build the package, then put the workflow into it."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "pesatlas" / "_workflow"
        shutil.rmtree(target, ignore_errors=True)  # what an earlier build left
        target.mkdir(parents=True)
        for name in WORKFLOW:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            else:
                shutil.copy2(source, target / name)


setup(cmdclass={"build_py": WithWorkflow})
