"""Tiers of tests by measured durations: ``durations.json`` decides which are marked ``quick`` and ``slow``.

``make quick`` runs tests marked ``quick``, ``make test`` all that are not marked ``slow``, ``make test-rest``
those, if need be within a number of minutes (``Minutes``), ``make test-all`` every test. The file has the
seconds of each test function with all its cases, and of each fixture that several tests share; what takes
less than ``LISTED_S`` is not in it. A test is quick if its fixtures are too; it is slow by itself, for others
need its fixtures as well. A test that is not in the file counts as quick.
Tests on a running Slurm are slow whatever they take, and those marked ``proof`` by hand never are. ``make
durations`` writes the file.
"""

import json
import time
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE = ROOT / "tests" / "durations.json"
LISTED_S = 0.2
QUICK_S = 2.0
SLOW_S = 4.0
LONG_S = 15.0


def function_of(nodeid):
    """The test function (or the class of a conformance kit) that a case belongs to, as in the file."""
    path, name, *_ = nodeid.partition("[")[0].split("::")
    return f"{path}::{name}"


def read_durations():
    """Seconds by test function."""
    return json.loads(FILE.read_text())


def fixture_of(definition):
    """The name of a fixture in the file: its name behind the file or folder that it belongs to."""
    return f"{definition.baseid}::{definition.argname}"


def is_there(entry):
    """Whether a function, class or fixture of the file is still in the repository."""
    path, _, name = entry.partition("::")
    source = ROOT / path
    if source.is_dir():
        source /= "conftest.py"
    return source.is_file() and any(
        line.startswith((f"def {name}(", f"class {name}(", f"class {name}:"))
        for line in source.read_text().splitlines()
    )


def needs_slurm(item):
    """Whether a test works on the small Slurm of its module."""
    return "slurm" in getattr(item, "fixturenames", ())


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

    def seconds_of_fixtures(self, item):
        """Seconds of all shared fixtures that an item needs."""
        needed = [definitions[-1] for definitions in item._fixtureinfo.name2fixturedefs.values()]
        return sum(self.durations.get(fixture_of(definition), 0.0) for definition in needed)

    def pytest_itemcollected(self, item):
        """Mark a test ``quick`` or ``slow``, or neither."""
        seconds = float("inf") if needs_slurm(item) else self.seconds(item)
        if seconds + self.seconds_of_fixtures(item) <= QUICK_S:
            item.add_marker("quick")
        elif seconds > SLOW_S and item.get_closest_marker("proof") is None:
            item.add_marker("slow")

    def pytest_collection_modifyitems(self, config, items):
        """Put files first that wait for Slurm, then files with long tests: all workers end at about the same
        time.

        Within each of the three the order stays random. Where minutes are set (``Minutes``) nothing changes.
        """
        if config.getoption("minutes") is not None:
            return
        waiting = {item.path for item in items if needs_slurm(item)}
        long = {item.path for item in items if self.seconds(item) > LONG_S}
        items.sort(key=lambda item: (item.path not in waiting, item.path not in long))


class Minutes:
    """A plugin of pytest: what has not begun when the time is up is skipped, with that reason.

    Tests marked ``first``, one of each kind, begin before all others, whose files stay in random order.

    Parameters
    ----------
    minutes : how long tests may begin
    began : time of the clock, in s, when the session began; workers are told by the process that started them
    """

    def __init__(self, minutes, began):
        self.minutes = minutes
        self.began = began
        self.left_out = []

    @property
    def reason(self):
        """The reason of the tests that are skipped."""
        return f"not begun within {self.minutes:g} minutes"

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node):
        """Tell a worker of pytest-xdist when the session began."""
        node.workerinput["began"] = self.began

    def pytest_collection_modifyitems(self, items):
        """Put tests marked ``first`` before all others."""
        items.sort(key=lambda item: item.get_closest_marker("first") is None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self):
        """Skip a test before its fixtures are made."""
        if time.time() - self.began > self.minutes * 60:
            pytest.skip(self.reason)

    def pytest_runtest_logreport(self, report):
        """Note which tests were left out, of whichever worker."""
        if report.skipped and report.when == "setup" and self.reason in str(report.longrepr):
            self.left_out.append(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter):
        """Name the tests that were left out."""
        if self.left_out:
            terminalreporter.section(f"{len(self.left_out)} tests were {self.reason}")
            terminalreporter.write_line("\n".join(sorted(self.left_out)))
            terminalreporter.write_line("`make test-rest` runs them all.")


class FixtureStopwatch:
    """A plugin of pytest, of each worker.

    The reports of tests carry how long the shared fixtures took that were made for them.
    """

    def __init__(self):
        self.seconds = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        """Measure a fixture; those that it needs were made before."""
        began = time.monotonic()
        made = yield
        if fixturedef.scope != "function":
            self.seconds[fixture_of(fixturedef)] = time.monotonic() - began
        return made

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self):
        """Hand the measured seconds over."""
        report = yield
        report.fixtures, self.seconds = self.seconds, {}
        return report


class Stopwatch:
    """A plugin of pytest: writes the durations of the tests that ran to the file, beside those of all others.

    Cases that failed or were skipped are not counted, so that a machine without Slurm does not make its tests
    quick.
    """

    def __init__(self):
        self.cases = defaultdict(float)
        self.fixtures = {}
        self.bad = set()

    def pytest_runtest_logreport(self, report):
        """Add one phase of a test, of whichever worker."""
        for name, seconds in report.fixtures.items():
            # a worker that waits for what another one makes takes no longer than that
            self.fixtures[name] = max(seconds, self.fixtures.get(name, 0.0))
        if report.when != "setup":
            self.cases[report.nodeid] += report.duration
        if report.outcome != "passed":
            self.bad.add(report.nodeid)

    def pytest_sessionfinish(self):
        """Write the file."""
        measured = defaultdict(float, self.fixtures)
        for nodeid, seconds in self.cases.items():
            if nodeid not in self.bad:
                measured[function_of(nodeid)] += seconds
        every = read_durations() | {name: round(seconds, 1) for name, seconds in measured.items()}
        kept = {name: every[name] for name in sorted(every) if every[name] >= LISTED_S and is_there(name)}
        FILE.write_text(json.dumps(kept, indent=0) + "\n")
