"""Disturb a campaign on a real Slurm in many ways; each time its dataset has to equal that of a quiet run.

    python benchmarks/faults.py [--labels 200] [--only kill,node]

Needs root and the programs of Slurm (`apt-get install slurm-wlm munge`). A quiet run explores and labels
first, without Slurm. Each disturbance then starts from its selection and labels again, with the double of
VASP, of whose calculations a tenth fail in one of the ways of `tests/vasp_faults.py`. Prints the table of
docs/measurements.md; ends with status 1 if anything is lost, twice, or unexplained.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from pesatlas.campaign.layout import RESULTS
from pesatlas.cli.slurm_jobs import job_prefix
from pesatlas.dataset.verify import verify
from pesatlas.errors import UserError

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from slurm_campaign import SlurmCampaign  # noqa: E402
from small_slurm import SmallSlurm  # noqa: E402 - parts that tests share
from vasp_faults import FAULTS  # noqa: E402

LEVELS = ("pbe", "r2scan")
CAMPAIGN = {
    # four jobs run at once
    "label.cores": 2,
    # a calculation takes a second: even on a busy machine only those time out that hang
    "label.timeout_min": 1.0,
    # fine enough to give every frame a cluster of its own
    "explore.frame_interval_ps": 0.01,
    "select.structure.threshold": 1e-4,
    "select.atoms.threshold": 1e-4,
}
LABELS = "label_batch"
CONTROLLER_AWAY_S = 120
OVER = {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"}
Campaign = Any
Disturbance = Callable[[Campaign, SmallSlurm], str]


def working(campaign: Campaign, slurm: SmallSlurm, share: float) -> None:
    """Wait until label jobs run and a ``share`` of their calculations have started."""
    memory, wanted = campaign.path / "memory", 2 * share * campaign.configuration["select"]["target"]
    slurm.wait_for(
        lambda: campaign.jobs(LABELS, "RUNNING") and len(list(memory.glob("*"))) >= wanted, seconds=600
    )


def kill_head(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(1) `kill -9` of the head, three times."""
    campaign.write_profile(jobs=4)  # so that there is something left to submit
    for share in (0.1, 0.3, 0.6):
        head = campaign.start()
        working(campaign, slurm, share)
        campaign.kill(head)
        slurm.wait_for(lambda: not campaign.jobs(states="RUNNING,COMPLETING,PENDING"), 900)
    campaign.run()
    return "`kill -9` of the head three times; started again when its jobs had ended"


def fail_node(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(2) A node dies with all that runs on it, and comes back."""
    head = campaign.start()
    working(campaign, slurm, 0.2)

    def on_it() -> list[dict[str, str]]:
        return [job for job in campaign.jobs(LABELS, "RUNNING") if job["node"] == "cpu1"]

    slurm.wait_for(on_it, 300)
    lost = on_it()
    slurm.fail("cpu1")
    slurm.wait_for(lambda: "down" in slurm.ask("sinfo", "-h", "-n", "cpu1", "-o", "%T"), 120)
    slurm.start_node("cpu1")
    campaign.finish(head)
    return f"a node and the {len(lost)} jobs on it die at once; it comes back later"


def out_of_time(campaign: Campaign, _: SmallSlurm) -> str:
    """(3) Jobs need longer than their limit."""
    campaign.environment["VASP_DOUBLE_SECONDS"] = "4"
    campaign.write_profile(rules={LABELS: {"runtime": "2 ** (attempt - 1)"}})
    campaign.run()
    return "label jobs need 90 s and get a minute; twice that at each further attempt"


def out_of_memory(campaign: Campaign, _: SmallSlurm) -> str:
    """(4) Jobs need more memory than they asked for."""
    campaign.write_profile(rules={LABELS: {"mem_mb": "350 * attempt**3"}})
    campaign.run()
    return "label jobs get 350 MB, less than they need; eight times that at the next attempt"


def preempt(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(5) Jobs of a partition of higher priority take the nodes."""
    campaign.write_profile(partition="low")
    head = campaign.start()
    for share in (0.1, 0.4):
        working(campaign, slurm, share)
        for node in ("cpu1", "cpu2"):
            slurm.ask(
                "sbatch", "-p", "cpu", "-w", node, "--exclusive", "-o", "/dev/null", "--wrap", "sleep 5"
            )
    campaign.finish(head)
    return "jobs in a partition of low priority; twice others take both nodes"


def cancel_some(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(6) Somebody cancels jobs."""
    head = campaign.start()
    for share in (0.1, 0.3, 0.5):
        working(campaign, slurm, share)
        for job in campaign.jobs(LABELS, "RUNNING")[:2]:
            slurm.ask("scancel", job["number"])
    campaign.finish(head)
    return "`scancel` of two running jobs, three times"


def fill_disk(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(7) The disk of campaign and store is full, and has room again."""
    head = campaign.start()
    working(campaign, slurm, 0.2)
    filler = campaign.path / "filler"
    with filler.open("wb", buffering=0) as handle:
        try:
            while True:
                handle.write(b"0" * 4096)
        except OSError:
            pass  # full
    if head.wait(900) != 1:
        raise RuntimeError(f"the disk was full, and the run ended with status {head.returncode}")
    filler.unlink()
    campaign.run()
    return "no space left for campaign and store; the run ends with status 1; room is made"


def resume_beside_orphans(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(8) A new head starts while jobs of the dead one still run."""
    for share in (0.1, 0.4):
        head = campaign.start()
        working(campaign, slurm, share)
        campaign.kill(head)
    if "of the earlier run are running" not in campaign.run():
        raise RuntimeError("no orphans were met")
    return "`kill -9` of the head twice, started again at once while its jobs run"


def finish_or_again(campaign: Campaign, head: subprocess.Popen[bytes]) -> str:
    """Wait for the head; if it gave up, type the same command again, as a person would; say which it was."""
    if head.wait(campaign.patience_s) == 0:
        return "the run goes on by itself"
    campaign.run()
    return "the run ends, the same command finishes it"


def pause_controller(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(9) The controller does not answer for two minutes."""
    campaign.environment["REFUSALS_AS_EVER"] = "1"  # tried again after minutes, as users have it
    head = campaign.start()
    working(campaign, slurm, 0.2)
    slurm.controller.send_signal(signal.SIGSTOP)
    time.sleep(CONTROLLER_AWAY_S)
    slurm.controller.send_signal(signal.SIGCONT)
    return f"slurmctld stands still (SIGSTOP) for two minutes: {finish_or_again(campaign, head)}"


def kill_controller(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(10) The controller dies, and is started again two minutes later."""
    campaign.environment["REFUSALS_AS_EVER"] = "1"  # tried again after minutes, as users have it
    head = campaign.start()
    working(campaign, slurm, 0.2)
    slurm.kill_controller()
    time.sleep(CONTROLLER_AWAY_S)
    slurm.start_controller()
    return f"`kill -9` of slurmctld, started again after two minutes: {finish_or_again(campaign, head)}"


def drain(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(11) All nodes are drained, and come back when what ran on them has ended."""
    head = campaign.start()
    working(campaign, slurm, 0.2)
    slurm.ask("scontrol", "update", "NodeName=cpu[1-2]", "State=DRAIN", "Reason=disturbed")
    slurm.wait_for(lambda: not campaign.jobs(states="RUNNING,COMPLETING"), 300)
    left = len(campaign.jobs(LABELS, "PENDING"))
    if not left:
        raise RuntimeError("no job had to wait for the drained nodes")
    time.sleep(15)
    slurm.ask("scontrol", "update", "NodeName=cpu[1-2]", "State=RESUME")
    campaign.finish(head)
    return f"all nodes drained until nothing runs and {left} jobs wait; resumed"


def hold(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(12) Somebody holds a job, and releases it when all others have ended."""
    head = campaign.start()
    # four run at once: of more that wait, the last one does not start before it is held
    job = slurm.wait_for(lambda: campaign.jobs(LABELS, "PENDING")[4:], 300)[-1]["number"]
    slurm.ask("scontrol", "hold", job)
    slurm.wait_for(
        lambda: [each["number"] for each in campaign.jobs(states="RUNNING,PENDING,COMPLETING")] == [job], 900
    )
    time.sleep(15)
    slurm.ask("scontrol", "release", job)
    campaign.finish(head)
    return "`scontrol hold` of a job, `release` when all others have ended"


def requeue(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(13) Somebody puts running jobs back into the queue."""
    head = campaign.start()
    for share in (0.1, 0.4):
        working(campaign, slurm, share)
        slurm.ask("scontrol", "requeue", campaign.jobs(LABELS, "RUNNING")[0]["number"])
    campaign.finish(head)
    return "`scontrol requeue` of a running job, twice"


def refuse_account(campaign: Campaign, _: SmallSlurm) -> str:
    """(14) The profile names an account that this user does not have; then the right one."""
    campaign.write_profile(account="nobody")
    head = campaign.start()
    if head.wait(campaign.patience_s) == 0:
        raise RuntimeError("Slurm took jobs of an account that there is not")
    if "Slurm refused" not in campaign.output or "account nobody" not in campaign.output:
        raise RuntimeError(f"the refusal is not shown:\n{campaign.output}")
    campaign.write_profile(account="lab")
    campaign.run()
    return "jobs of an account that Slurm refuses: the run ends and shows why; the profile is mended"


def sleep_of_head(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(15) The head is suspended until Slurm has forgotten the jobs that it waits for."""
    head = campaign.start()
    working(campaign, slurm, 0.3)
    os.killpg(head.pid, signal.SIGSTOP)
    slurm.wait_for(lambda: not campaign.jobs(), 600)
    os.killpg(head.pid, signal.SIGCONT)
    campaign.finish(head)
    return "the head is suspended (SIGSTOP) until its jobs have ended and Slurm has forgotten them"


def within_an_hour(campaign: Campaign, _: SmallSlurm) -> str:
    """(20) A partition for jobs of an hour at most, and a profile that caps what is asked for."""
    campaign.write_profile(partition="short", defaults={"max_runtime": 60})
    campaign.run()
    return "a partition with a limit of an hour; the profile says `max_runtime: 60`, no rule is named"


def stop(campaign: Campaign, slurm: SmallSlurm, *options: str) -> str:
    """(16, 17) `pesatlas stop` from another terminal, twice; the same command carries on."""
    for share in (0.2, 0.5):
        head = campaign.start()
        working(campaign, slurm, share)
        campaign.pesatlas("stop", *options, within_s=campaign.patience_s)
        head.wait(60)
        if campaign.jobs(states="RUNNING,PENDING"):
            raise RuntimeError("jobs go on after `pesatlas stop`")
    campaign.run()
    return (
        f"`{' '.join(['pesatlas stop', *options])}` from another terminal, twice; the same command carries on"
    )


def stop_now(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(17) `pesatlas stop --now`."""
    return stop(campaign, slurm, "--now")


def take_over(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(18) Another `pesatlas run` ends the one that lives, and carries on."""
    first = campaign.start()
    working(campaign, slurm, 0.2)
    second = campaign.start("--take-over")
    first.wait(300)
    working(campaign, slurm, 0.5)
    campaign.run("--take-over")
    second.wait(60)
    return "`pesatlas run --take-over` while another run lives, twice"


def kill_parent(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(19) `kill -9` of the process that `pesatlas status` names, alone."""
    for share in (0.2, 0.5):
        head = campaign.start()
        working(campaign, slurm, share)
        head.kill()
        head.wait()
    campaign.run()
    return "`kill -9` of the process that `status` names, and only of it, twice; the same command at once"


def in_allocations(campaign: Campaign, slurm: SmallSlurm) -> str:
    """(21) Everything inside allocations of two nodes, which end before the campaign does."""
    folder = campaign.path / "profile"
    shutil.rmtree(folder)
    shutil.copytree(ROOT / "profiles" / "allocation", folder)
    job, nodes = folder / "job.sh", set()
    text = re.sub(r"#SBATCH --account=.*\n", "", job.read_text())
    job.write_text(re.sub(r"USR1@.*", "USR1@90", re.sub(r"--time=.*", "--time=12", text)))
    campaign.pesatlas(*campaign.command()[3:], within_s=campaign.patience_s)

    def is_over() -> bool:
        steps = slurm.ask("squeue", "--steps", "--noheader", "--format=%j|%N").splitlines()
        nodes.update(step.split("|")[1] for step in steps if step.startswith(LABELS))
        return {job["state"] for job in allocations(campaign, slurm)} <= OVER

    slurm.wait_for(is_over, campaign.patience_s)
    print(
        *(path.read_text() for path in (campaign.path / "logs/slurm").glob("allocation-*.log")),
        file=sys.stderr,
    )
    if len(nodes) != 2:
        raise RuntimeError(f"labelled on {nodes}, not on two nodes")
    return "`profiles/allocation`: job steps on two nodes, in allocations of twelve minutes"


def allocations(campaign: Campaign, slurm: SmallSlurm) -> list[dict[str, str]]:
    """Return the allocations of a campaign, the newest last."""
    return [job for job in slurm.jobs() if job["name"] == job_prefix(campaign.path)]


DISTURBANCES: dict[str, Disturbance] = {
    "kill": kill_head,
    "node": fail_node,
    "time": out_of_time,
    "memory": out_of_memory,
    "preempt": preempt,
    "cancel": cancel_some,
    "disk": fill_disk,
    "orphans": resume_beside_orphans,
    "pause": pause_controller,
    "controller": kill_controller,
    "drain": drain,
    "hold": hold,
    "requeue": requeue,
    "account": refuse_account,
    "sleep": sleep_of_head,
    "stop": stop,
    "now": stop_now,
    "take-over": take_over,
    "parent": kill_parent,
    "hour": within_an_hour,
    "allocation": in_allocations,
}

OWN_SLURM: dict[str, dict[str, Any]] = {
    "account": {"accounting": True},
    "sleep": {"min_job_age_s": 10},
}
"""Those that need a Slurm of their own, and its settings."""

SEEN = {
    "node": "restarted",
    "time": "timeout",
    "memory": "over their memory",
    "preempt": "restarted",
    "cancel": "cancelled",
    "disk": "failed",
    "requeue": "restarted",
}
"""States that Slurm reports of some label jobs, or a disturbance did not happen.

The others look for themselves.
"""


def reasons(campaign: Campaign) -> list[tuple[str, str, str]]:
    """Return what failed while labelling: snapshot, level, reason; each has to have a detail."""
    rows = campaign.failures()
    if not all(row["detail"] for row in rows):
        raise RuntimeError("a failure is not explained")
    return sorted((row["key"], row["level"], row["reason"]) for row in rows)


def fates(campaign: Campaign, slurm: SmallSlurm) -> Counter[str]:
    """Count label jobs by their end, requeues by Slurm, and jobs ended for their memory.

    Of a campaign inside allocations, count those.
    """
    jobs, restarts = campaign.jobs(LABELS) or allocations(campaign, slurm), slurm.restarts()
    found = Counter(job["state"].lower() for job in jobs)
    found["restarted"] = sum(restarts[job["number"]] > 0 for job in jobs)
    found["over their memory"] = len(slurm.killed_for_memory() & {job["number"] for job in jobs})
    return +found


def ghosts(campaign: Campaign) -> int:
    """Count processes of the double of this campaign, and their children, that are left."""
    left = 0
    for process in psutil.process_iter(["cmdline", "environ"]):
        line, environment = " ".join(process.info["cmdline"] or []), process.info["environ"] or {}
        ours = environment.get("VASP_DOUBLE_MEMORY") == campaign.environment["VASP_DOUBLE_MEMORY"]
        left += ours and ("vasp_double.py" in line or "os.setsid()" in line)
    return left


def compare(campaign: Campaign, quiet: Campaign) -> list[str]:
    """Return what differs from the quiet run, or is wrong."""
    problems = verify(campaign.path / RESULTS)
    for level in LEVELS:
        if campaign.dataset(level) != quiet.dataset(level):
            problems.append(f"the dataset {level} differs")
    if reasons(campaign) != reasons(quiet):
        problems.append(f"failures differ: {set(reasons(campaign)) ^ set(reasons(quiet))}")
    if left := ghosts(campaign):
        problems.append(f"{left} processes of VASP are left")
    return problems


def make(folder: Path, slurm: SmallSlurm, labels: int) -> Campaign:
    """Make a campaign, a tenth of whose calculations fail, always in the same way."""
    sizes = {"select.target": labels, "label.structures_per_job": 10 if labels >= 100 else 4}
    campaign = SlurmCampaign(folder, slurm, CAMPAIGN | sizes, patience_s=7200)
    campaign.faults(fraction=0.1, faults=sorted(FAULTS))
    return campaign


def disturb(name: str, folder: Path, slurm: SmallSlurm, quiet: Campaign, labels: int) -> list[str]:
    """Run one disturbed campaign, print its line of the table, and return what is wrong."""
    own = folder / name
    own.mkdir()
    subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", own], check=True)
    try:
        with make(own / "campaign", slurm, labels) as campaign:
            campaign.take_selection(quiet)
            begun = time.monotonic()
            what = DISTURBANCES[name](campaign, slurm)
            problems = compare(campaign, quiet)
            ended = fates(campaign, slurm)
            if name in SEEN and not ended[SEEN[name]]:
                problems.append(f"it did not happen: no job is {SEEN[name]}")
            print(
                f"| {what} | {', '.join(f'{n} {fate}' for fate, n in sorted(ended.items()))} "
                f"| {sum(campaign.runs_of_double().values())} "
                f"| {', '.join(str(len(campaign.dataset(level))) for level in LEVELS)} | "
                f"{len(campaign.failures())} "
                f"| {'; '.join(problems) or 'equal'} | {time.monotonic() - begun:.0f} |",
                flush=True,
            )
            return problems
    finally:
        subprocess.run(["/usr/bin/umount", "--lazy", own], check=True)


def attempt(name: str, folder: Path, slurm: SmallSlurm, quiet: Campaign, labels: int) -> list[str]:
    """Run one disturbed campaign; if it breaks off, say why, and let the next one have its turn."""
    try:
        if name not in OWN_SLURM:
            return disturb(name, folder, slurm, quiet, labels)
        with SmallSlurm(folder / f"slurm-{name}", **OWN_SLURM[name]) as own:
            return disturb(name, folder, own, quiet, labels)
    except (UserError, RuntimeError, OSError, AssertionError, LookupError, subprocess.SubprocessError):
        traceback.print_exc()
        print(f"| {name} | | | | | broke off | |", flush=True)
        return ["broke off"]


def main() -> None:
    """Run a quiet campaign and the disturbed ones."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--only", help=f"some of {','.join(DISTURBANCES)}", default=",".join(DISTURBANCES))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pesatlas-faults-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        with SmallSlurm(folder / "slurm") as slurm, make(folder / "quiet", slurm, options.labels) as quiet:
            quiet.run("--executor", "local", "--cores", "4")
            print(
                f"quiet run, without Slurm: {sum(quiet.runs_of_double().values())} calculations, "
                f"{[len(quiet.dataset(level)) for level in LEVELS]} rows, "
                f"failures {dict(Counter(reason for _, _, reason in reasons(quiet)))}\n\n"
                "| what was done | label jobs | calculations | rows | failures | against the quiet run | s "
                "|\n"
                "|---|---|---|---|---|---|---|",
                flush=True,
            )
            names = options.only.split(",")
            problems = [attempt(name, folder, slurm, quiet, options.labels) for name in names]
    sys.exit(any(problems))


if __name__ == "__main__":
    main()
