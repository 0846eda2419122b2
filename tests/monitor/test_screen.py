"""The status on a screen: bars that sum, that fit, and that are letters where there is no terminal; and
below a run."""

import io
import itertools
import json
import subprocess
import sys
import time

import pytest
from rich.console import Console

from pesatlas.campaign.load import read_campaign
from pesatlas.cli.controller import Stopped
from pesatlas.cli.ending import closing_lines, failed_before
from pesatlas.cli.live_view import campaign_of_run, is_shown, looker, show_live
from pesatlas.cli.slurm_jobs import job_prefix
from pesatlas.monitor.bar import cells
from pesatlas.monitor.jobs import Job
from pesatlas.monitor.screen import screen
from pesatlas.monitor.status import read_status
from pesatlas.runtime.progress import State, progress_file
from terminals import Terminal


@pytest.fixture
def campaign(halfway):
    return read_campaign(halfway.folder / "config.yaml", extensions=False)


@pytest.fixture
def status(halfway, campaign):
    return read_status(halfway.folder, campaign, job_prefix(halfway.folder))


def shown(status, width, **settings):
    console = Console(file=io.StringIO(), width=width, **settings)
    console.print(screen(status, console))
    return console.file.getvalue().splitlines()


def test_bars_sum_and_nothing_that_is_there_is_invisible():
    for counts in itertools.product((0, 1, 3, 500, 500_000), repeat=4):
        for width in (8, 13, 30):
            found = cells(counts, width)
            assert sum(found) == (width if any(counts) else 0)
            assert [n > 0 for n in found] == [count > 0 for count in counts]
    assert cells([25, 25, 0, 50], 8) == [2, 2, 0, 4]


def test_in_a_pipe_a_bar_is_letters_in_proportion(status):
    lines = shown(status, 80)
    assert all(line.isascii() for line in lines)
    label = next(line for line in lines if line.startswith("label "))
    bar = label.split()[1]
    assert bar == "".join(sorted(bar, key="#x.".index))
    assert all(
        abs(bar.count(letter) - len(bar) * share) < 1
        for letter, share in (("#", 0.25), ("x", 0.25), (".", 0.5))
    )
    encode = next(line for line in lines if line.startswith("encode "))
    assert encode.split()[1] == "20"  # no bar while the total is not known


def test_on_a_terminal_a_bar_is_blocks_of_four_kinds(status):
    status.stages[5].under_way = 3
    label = next(line for line in shown(status, 80, force_terminal=True, no_color=True) if "label" in line)
    assert [label.count(block) > 0 for block in "█▓▚░"] == [True] * 4


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_the_largest_campaign_fits(status, width):
    for stage in status.stages:
        stage.total, stage.done, stage.failed, stage.under_way = 509_799, 254_899, 1_234, 10_000
        stage.batches, stage.batches_done = 10_196, 9_000
        status.paces[stage.name].running, status.paces[stage.name].left_s = 200, 300_000.0
    lines = shown(status, width)
    first = next(i for i, line in enumerate(lines) if line.startswith("stage"))
    table = lines[first : first + 9]
    assert all(len(line) <= width for line in table)
    assert len({len(line.rstrip()) for line in table}) == 1  # nothing is wrapped or cut
    assert "…" not in "".join(table)
    assert all("#" in line and "254899" in line and "3 d 11 h" in line for line in table[1:])
    assert all(("9000/10196" in line) == (width >= 80) for line in table[1:])


def test_jobs_at_work_tell_what_they_are_at(status):
    now = time.time()
    status.jobs = [
        Job(State("label_batch", f"{i:05d}", "running", "labels", i, 50, 1, None, 90.0, now - 200 + i), True)
        for i in range(1, 7)
    ]
    text = "\n".join(shown(status, 80))
    assert "label_batch 00001: labels 1 of 50, 1 failed, 2 min left" in text
    assert "label_batch 00005" not in text
    assert "and 2 more jobs at work" in text


SAYS = (
    "import time; print('job one of two', flush=True); time.sleep(1); print('\\x1b[31mjob two'); raise "
    "SystemExit(3)"
)


def test_a_run_on_a_terminal_shows_its_lines_and_below_them_the_stages(halfway, campaign):
    terminal = Terminal(80)
    log = halfway.folder / "run.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", SAYS], stdout=output, stderr=output)
    look = looker(halfway.folder, campaign, terminal.console)
    assert show_live(process, log, look, 0.1, terminal.console) == 3
    lines = terminal.close()
    assert lines.count("job one of two") == 1
    assert lines.count("job two") == 1
    drawn = [line for line in lines if line.startswith("label ") and "█" in line]
    assert len(drawn) > 2  # drawn again and again
    assert lines.index("job one of two") < max(i for i, line in enumerate(lines) if line in drawn)
    assert log.read_text().splitlines()[0] == "job one of two"


def test_a_look_that_fails_stops_no_run(halfway, campaign):
    look = looker(halfway.folder, None, Console(file=io.StringIO()))
    assert "cannot be seen at the moment" in look()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--logger", "rich"],
        ["--quiet"],
        ["--config", "x=1"],
        ["--directory=elsewhere"],
        ["--configfile", "no"],
    ],
)
def test_who_asks_for_something_else_gets_it(halfway, arguments):
    terminal = Terminal()

    def to_show(arguments, console):
        return campaign_of_run(halfway.folder, arguments) if is_shown(arguments, console) else None

    assert to_show([], terminal.console) is not None
    assert to_show(arguments, terminal.console) is None
    assert to_show([], Console(file=io.StringIO(), force_terminal=True)) is None
    terminal.close()


def test_after_a_run_that_stopped_the_jobs_that_failed_are_named_with_their_logs(halfway):
    folder = halfway.folder / "work" / "progress"
    before = failed_before(halfway.folder)
    with progress_file("run_md", "00000", folder):  # has its results
        pass
    with pytest.raises(ValueError, match="no"), progress_file("label_batch", "00001", folder):
        raise ValueError("no")
    # the clock of its node is an hour behind ours
    path = folder / "label_batch-00001.json"
    state = json.loads(path.read_text())
    path.write_text(
        json.dumps(state | {"started": state["started"] - 3600, "updated": state["updated"] - 3600})
    )
    said = closing_lines(halfway.folder, before, 1, refused=[])
    assert "label_batch 00001 failed: see logs/label_batch/00001.log" in said
    assert "run_md" not in said
    assert "the same command continues" in said
    quietly = closing_lines(halfway.folder, before, 1, stopped=Stopped("quietly", "SIGTERM"), refused=[])
    assert "label_batch 00001 failed: see logs/label_batch/00001.log" in quietly
    later = failed_before(halfway.folder)
    assert "The lines above state why it stopped" in closing_lines(halfway.folder, later, 1, refused=[])
    quietly = closing_lines(halfway.folder, later, 1, stopped=Stopped("quietly", "SIGTERM"), refused=[])
    assert "nothing needs to be repaired. Running jobs finished.\nThe same command continues.\n" in quietly
    assert "does not accept these options" in closing_lines(halfway.folder, before, 2, refused=[])
