"""Faults of the double of VASP, on demand.

``VASP_DOUBLE_FAULTS`` names a JSON file: ``{"structures": {NAME: FAULT}, "fraction": 0.1, "faults": [FAULT,
...]}``. A structure is named by ``vasp_double.Inputs.name``, or ``*`` for all; of the others, ``fraction``
gets one of ``faults``, by its name and functional. A FAULT is one of ``FAULTS``, or ``FAULT:2``: the first
two runs only; ``r2scan/FAULT`` is for that functional only. Runs are counted in the folder
``VASP_DOUBLE_MEMORY``, one file for each structure and functional.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

FAULTS = {
    "unconverged": "NELM steps without convergence",
    "edddav": "Error EDDDAV: Call to ZHEGV failed. Returncode = 7 2 8",
    "zbrent": "ZBRENT: fatal error in bracketing",
    "zpotrf": "LAPACK: Routine ZPOTRF failed!           1           1           1",
    "brmix": "BRMIX: very serious problems",
    "memory": "Allocation would exceed memory limit",
    "entropy": "0.1 eV an atom of T*S",
    "truncated": "vasprun.xml ends in the middle",
    "no_outcar": "no OUTCAR",
    "stale_outcar": "OUTCAR of another run",
    "old_outcar": "OUTCAR with an old date",
    "hang": "never ends",
    "ghosts": "ends well and leaves processes that ignore SIGTERM",
    "hang_ghosts": "never ends, ignores SIGTERM, has children in sessions of their own",
    "exit": "ends with status 1 before it writes anything",
    "late_exit": "writes everything and ends with status 2",
    "killed": "is killed by a signal",
    "sigkill": "is killed with SIGKILL, as when memory is used up",
    "full_disk": "no space left on the device",
    "pbe_result": "a whole PBE result for r2SCAN",
    "pbe_numbers": "numbers of PBE, but METAGGA in vasprun.xml",
    "wrong_structure": "an atom of the result is elsewhere",
    "wrong_version": "another VASP",
    "other_sigma": "does not do what its INCAR says",
    "nan": "a force is not a number",
    "noncollinear": "moments are vectors",
    "torn_outcar": "OUTCAR ends before its timings",
    "torn_moments": "OUTCAR ends in the table of moments",
    "torn_timings": "OUTCAR ends in its timings",
    "two_runs": "OUTCAR has another run before this one",
    "no_moments": "OUTCAR has no moments of the ions, as without LORBIT",
    "starred_moments": "a moment has no room in its column",
    "starred_forces": "a force has no room in its column",
    "other_forces": "forces in OUTCAR are others",
    "starred_bands": "a band energy has no room in its column",
    "binary": "vasprun.xml has a byte that no XML has",
    "two_steps": "vasprun.xml has two ionic steps",
    "no_stress": "vasprun.xml has no stress",
    "absurd": "vasprun.xml is a whole XML file of something else",
    "no_wavecar": "WAVECAR is empty",
}
MESSAGES = ("edddav", "zbrent", "zpotrf", "brmix", "memory")
GHOST = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    time.sleep(3600)
time.sleep(3600)
"""


def fault_of(name, functional):
    """The fault of this run of a structure at a functional, or None; counts the run."""
    count = _count(f"{name}-{functional}")
    path = os.environ.get("VASP_DOUBLE_FAULTS")
    if not path:
        return None
    plan = json.loads(Path(path).read_text())
    structures = plan.get("structures", {})
    chosen = structures.get(name, structures.get("*")) or _by_chance(plan, f"{name}{functional}")
    only, _, word = (chosen or "").rpartition("/")
    fault, _, runs = word.partition(":")
    if not fault or (only and only.upper() != functional) or (runs and count >= int(runs)):
        return None
    assert fault in FAULTS, fault
    return fault


def _by_chance(plan, key):
    digest = sha256(key.encode()).digest()
    if digest[0] + 256 * digest[1] >= 65536 * plan.get("fraction", 0.0):
        return None
    return plan["faults"][(digest[2] + 256 * digest[3]) % len(plan["faults"])]


def _count(key):
    """How often this was run before; without a memory, never."""
    folder = os.environ.get("VASP_DOUBLE_MEMORY")
    if not folder:
        return 0
    Path(folder).mkdir(parents=True, exist_ok=True)
    with (Path(folder) / key).open("a+") as handle:
        handle.seek(0)
        before = len(handle.read().splitlines())
        handle.write(f"{os.getpid()}\n")
    return before


def before(fault, folder):
    """What goes wrong before anything is written."""
    if fault in {"ghosts", "hang_ghosts"}:
        for _ in range(2):
            subprocess.Popen([sys.executable, "-c", GHOST])
        time.sleep(0.3)  # they are on their way
    if fault == "hang_ghosts":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if fault in {"hang", "hang_ghosts"}:
        print(" entering main loop", flush=True)
        time.sleep(3600)
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault in MESSAGES:
        print(f" {FAULTS[fault]}", flush=True)
        (folder / "vasprun.xml").write_text('<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n')
        sys.exit(1)
    if fault == "exit":
        print(" I REFUSE TO CONTINUE WITH THIS SICK JOB ... BYE!!!", flush=True)
        sys.exit(1)


def spoil(fault, inputs, run):
    """What is wrong with the results."""
    if fault == "unconverged":
        run.update(converged=False, steps=int(inputs.incar["NELM"]))
    elif fault == "entropy":
        run["entropy"] = 0.1 * len(inputs.symbols)
    elif fault == "pbe_result":
        inputs.incar.pop("METAGGA", None)
        inputs.incar["GGA"] = "PE"
    elif fault == "wrong_structure":
        inputs.fractional[0, 0] += 0.01
    elif fault == "wrong_version":
        run["version"] = "5.4.4"
    elif fault == "other_sigma":
        inputs.incar["SIGMA"] = "0.2"
    elif fault == "nan":
        run["forces"][0, 0] = float("nan")
    elif fault == "noncollinear":
        run["noncollinear"] = True


def _without_moments(text):
    """Without the tables from their titles to the blank line after them."""
    return re.sub(r" magnetization \(x\)\n.*?\n(?:# of ion.*?\n)(?:.+\n)+", "", text)


# What becomes of the text of a file.
EDITS = {
    "torn_outcar": ("OUTCAR", lambda text: text[: text.rindex(" General timing")]),
    "torn_moments": ("OUTCAR", lambda text: text[: text.rindex(" magnetization (x)") + 100]),
    "torn_timings": ("OUTCAR", lambda text: text[: text.rindex("Minor page faults")]),
    "two_runs": ("OUTCAR", lambda text: text + text),
    "no_moments": ("OUTCAR", _without_moments),
    "starred_moments": (
        "OUTCAR",
        lambda text: re.sub(
            r"^( +1 +0\.001  -0\.001).{16}$", r"\1****************", text, flags=re.MULTILINE
        ),
    ),
    "starred_forces": (
        "vasprun.xml",
        lambda text: re.sub(r'(name="forces" >\n +<v>).{17}', r"\1*****************", text),
    ),
    "other_forces": (
        "OUTCAR",
        lambda text: re.sub(r"(TOTAL-FORCE.*\n.*\n.{43}).{14}", r"\1      1.000000", text),
    ),
    "starred_bands": ("vasprun.xml", lambda text: re.sub(r"<r> .{10}", "<r> **********", text)),
    "binary": ("vasprun.xml", lambda text: text.replace("</calculation>", "\x00</calculation>")),
    "two_steps": (
        "vasprun.xml",
        lambda text: re.sub(r"( <calculation>.*</calculation>\n)", r"\1\1", text, flags=re.DOTALL),
    ),
    "no_stress": ("vasprun.xml", lambda text: text.replace('name="stress"', 'name="strain"')),
    "absurd": ("vasprun.xml", lambda _: "<modeling><html>Error 404</html></modeling>\n"),
    "no_wavecar": ("WAVECAR", lambda _: ""),
}


def after(fault, folder):
    """What goes wrong with the files; return the exit status."""
    vasprun, outcar = folder / "vasprun.xml", folder / "OUTCAR"
    if fault in EDITS:
        name, edit = EDITS[fault]
        if (folder / name).exists():  # r2SCAN writes no WAVECAR
            text = (folder / name).read_text()
            assert name == "WAVECAR" or edit(text) != text, fault
            (folder / name).write_text(edit(text))
    if fault in {"truncated", "full_disk"}:
        whole = vasprun.read_bytes()
        vasprun.write_bytes(whole[: 2 * len(whole) // 3])
    if fault == "no_outcar":
        outcar.unlink()
    elif fault == "stale_outcar":
        text = outcar.read_text()
        for line in [line for line in text.splitlines() if "energy(sigma->0)" in line or "TOTEN" in line]:
            text = text.replace(line, line.replace("-", "-1", 1) if "energy(" not in line else line)
        outcar.write_text(text)
    elif fault == "old_outcar":
        os.utime(outcar, (1e9, 1e9))
    elif fault == "full_disk":
        print(
            " forrtl: No space left on device\n forrtl: severe (38): error during write, unit 6", flush=True
        )
        return 38
    return 2 if fault == "late_exit" else 0
