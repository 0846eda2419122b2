"""The page of stages in Python: it runs from top to bottom, and prints what it shows."""

import os
import re
import subprocess
import sys

from house import STAGES
from small_campaign import ROOT

PAGE = (ROOT / "docs" / "python.md").read_text()
PIECES = re.findall(r"^```python\n(.*?)^```\n(?:\n^```text\n(.*?)^```\n)?", PAGE, re.DOTALL | re.MULTILINE)
END = "end of a piece"


def test_every_piece_runs_and_prints_what_is_shown(tmp_path):
    code = "".join(f"{piece}\nprint({END!r})\n" for piece, _ in PIECES)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(f"{END}\n")[:-1] == [shown for _, shown in PIECES]


def test_every_stage_has_its_piece():
    assert {title.lower() for title in re.findall(r"^## (\w+)\n", PAGE, re.MULTILINE)} == set(STAGES)
    assert len(PIECES) == PAGE.count("```python\n") == 1 + len(STAGES)
