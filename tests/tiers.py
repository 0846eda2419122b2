"""Tiers of tests by measured durations: ``durations.json`` decides which tests are marked ``quick`` and
``slow``.

``make quick`` runs tests marked ``quick``, ``make test`` all that are not marked ``slow``, ``make test-all``
every test. The file has the seconds of each test function with all its cases, fixtures included (a fixture
that several tests share counts for the first of them); functions of less than ``LISTED_S`` are left out. A
test that is not in the file counts as quick. ``make durations`` writes it.
"""

import json
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE = ROOT / "tests" / "durations.json"
LISTED_S = 0.2
QUICK_S = 2.0
SLOW_S = 20.0


def function_of(nodeid):
    """The test function (or the class of a conformance kit) that a case belongs to, as in the file."""
    path, name, *_ = nodeid.partition("[")[0].split("::")
    return f"{path}::{name}"


def read_durations():
    """Seconds by test function."""
    return json.loads(FILE.read_text())


def is_there(function):
    """Whether a function of the file is still in the repository."""
    path, _, name = function.partition("::")
    source = ROOT / path
    return source.is_file() and any(
        line.startswith((f"def {name}(", f"class {name}(", f"class {name}:"))
        for line in source.read_text().splitlines()
    )


class Tiers:
    """A plugin of pytest: marks each test as it is collected.

    Parameters
    ----------
    durations : seconds by test function
    """

    def __init__(self, durations):
        self.durations = durations

    def seconds(self, item):
        """Seconds of the test function of an item; 0 if it was not measured."""
        return self.durations.get(function_of(item.nodeid), 0.0)

    def pytest_itemcollected(self, item):
        """Mark a test ``quick`` or ``slow``; marked ``proof`` it is part of ``make test`` whatever it
        takes."""
        seconds = self.seconds(item)
        if seconds <= QUICK_S:
            item.add_marker("quick")
        elif seconds > SLOW_S and item.get_closest_marker("proof") is None:
            item.add_marker("slow")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        """Put files first that wait for Slurm, then files with long tests: all workers end at about the same
        time.

        Within each of the three the order stays random.
        """
        waiting = {item.path for item in items if "slurm" in getattr(item, "fixturenames", ())}
        long = {item.path for item in items if self.seconds(item) > SLOW_S}
        items.sort(key=lambda item: (item.path not in waiting, item.path not in long))


class Stopwatch:
    """A plugin of pytest: writes the durations of the tests that ran to the file, beside those of all others.

    Cases that failed or were skipped are not counted, so that a machine without Slurm does not make its tests
    quick.
    """

    def __init__(self):
        self.cases = defaultdict(float)
        self.bad = set()

    def pytest_runtest_logreport(self, report):
        """Add one phase of a test, of whichever worker."""
        self.cases[report.nodeid] += report.duration
        if report.outcome != "passed":
            self.bad.add(report.nodeid)

    def pytest_sessionfinish(self):
        """Write the file."""
        functions = defaultdict(float)
        for nodeid, seconds in self.cases.items():
            if nodeid not in self.bad:
                functions[function_of(nodeid)] += seconds
        measured = read_durations() | {name: round(seconds, 1) for name, seconds in functions.items()}
        kept = {
            name: measured[name] for name in sorted(measured) if measured[name] >= LISTED_S and is_there(name)
        }
        FILE.write_text(json.dumps(kept, indent=0) + "\n")
