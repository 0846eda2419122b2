"""CPU time of a label beyond VASP itself.

PBE and r2SCAN of a snapshot, custodian, supervisor, store and archive included.

    python benchmarks/label_overhead.py [--snapshots 20] [--atoms 64]

The double of VASP calculates every snapshot once, and its files are brought to the size of real ones (64
atoms: a vasprun.xml of 25 MB). Then the same batch is labelled again, with a command that only puts these
files in place. Its own CPU time is measured alone and subtracted.
"""

import argparse
import logging
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import synthetic_potcars  # noqa: E402 - beside the tests
from pesatlas.config.campaign import Campaign  # noqa: E402
from pesatlas.config.presets import preset  # noqa: E402
from pesatlas.label.batch import label_batch  # noqa: E402
from pesatlas.tables import read_table, write_table  # noqa: E402

KPOINTS, BANDS = 8, 300
REPLAY = (
    'if grep -q METAGGA INCAR; then l=r2scan; else l=pbe; fi; k=$FILES/$(cksum < POSCAR | cut -d" " -f1)-$l\n'
)
RECORD = "{python} {double} && mkdir -p $k && cp vasprun.xml OUTCAR OSZICAR CONTCAR $k\n"


def run_batch(folder: Path, name: str, script: Path, selection: Path) -> None:
    """Label the batch with a store of its own."""
    demo, _, _ = preset("demo")
    raw = demo.model_dump(mode="json")
    raw["campaign"]["store"] = str(folder / f"store-{name}")
    raw["label"]["scratch"] = str(folder)
    backend = {"kind": "vasp", "vasp_version": "6.4.3", "allow_unknown_potcars": True}
    raw["label"]["backend"] = {**backend, "command": f"sh {script}"}
    out = folder / name
    out.mkdir()
    campaign = Campaign.model_validate(raw)
    label_batch(
        campaign.label,
        campaign.campaign,
        0,
        selection=selection,
        labels=out / "labels.parquet",
        failures=out / "failures.parquet",
        work=out,
    )
    verdicts = read_table(out / "labels.parquet", "labels").column("verdict").to_pylist()
    print(f"{name}: {len(verdicts)} labels, {verdicts.count('accepted')} accepted")


def write_selection(path: Path, snapshots: int, atoms: int) -> None:
    """Write snapshots of rattled rock salt."""
    edge = round((atoms / 8) ** (1 / 3))
    grid = np.array(np.meshgrid(*[np.arange(2 * edge)] * 3)).reshape(3, -1).T
    numbers = np.where(grid.sum(axis=1) % 2, 8, 12)
    rows = []
    for i in range(snapshots):
        positions = 2.1 * grid + np.random.default_rng(i).normal(0, 0.05, grid.shape)
        frame = {"structure_id": "mgo", "variant": "unit", "domain": "bulk", "condition": "300K-0GPa"}
        md = {
            "ensemble": "NpT",
            "temperature_K": 300.0,
            "pressure_GPa": 0.0,
            "step": i,
            "rank": i,
            "batch": 0,
        }
        why = {"policy": "-", "reason": "-", "structure_cluster": 0, "atom_clusters": 1, "novelty": 0.0}
        source = {
            "mlip_energy_eV": 0.0,
            "potential": "-",
            "potential_hash": "-",
            "source": "-",
            "code_version": "-",
        }
        geometry = {
            "n_atoms": len(grid),
            "numbers": numbers.tolist(),
            "cell_A": (4.2 * edge * np.eye(3)).ravel().tolist(),
            "positions_A": positions.ravel().tolist(),
        }
        rows.append(
            {"snapshot_id": f"mgo:unit:300K-0GPa:{i:07d}", **frame, **md, **why, **source, **geometry}
        )
    write_table(path, "selection", rows, "-", {"pool": snapshots, "selected": snapshots})


def enlarge(folder: Path, atoms: int) -> int:
    """Give recorded files the size of real ones; return the bytes of a vasprun.xml."""
    row = "<r>" + "  0.0123" * 9 + " </r>\n"
    points = [
        f'<set comment="kpoint {k}">\n' + "<r>  -1.2345    1.0000 </r>\n" * BANDS + "</set>\n"
        for k in range(KPOINTS)
    ]
    spins = [f'<set comment="spin {s}">\n' + "".join(points) + "</set>\n" for s in (1, 2)]
    values = "<eigenvalues><array><set>\n" + "".join(spins) + "</set></array></eigenvalues>\n"
    projected = "<projected>\n" + row * (2 * KPOINTS * BANDS * atoms) + "</projected>\n"
    for path in folder.glob("*/vasprun.xml"):
        text = path.read_text(encoding="utf-8")
        for name, new in (("eigenvalues", values), ("projected", projected)):
            start, end = text.index(f"<{name}>"), text.index(f"</{name}>") + len(f"</{name}>\n")
            text = text[:start] + new + text[end:]
        path.write_text(text, encoding="utf-8")
        outcar = path.with_name("OUTCAR")
        padding = " band No.  band energies     occupation\n" * (2 * KPOINTS * BANDS * 4)
        outcar.write_text(padding + outcar.read_text(encoding="utf-8"), encoding="utf-8")
    return path.stat().st_size


def cpu_s() -> tuple[float, float]:
    """CPU time of this process and of its ended children, in s."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    mine, theirs = (u.ru_utime + u.ru_stime for u in used)
    return mine, theirs


def replay_alone(folder: Path, script: Path, times: int) -> float:
    """CPU time of one call of the replaying command, in s."""
    where = folder / "alone"
    where.mkdir()
    record = next((folder / "files").iterdir())
    for name in ("INCAR", "POSCAR"):
        (where / name).write_bytes((record / name).read_bytes())
    before = cpu_s()[1]
    for _ in range(times):
        subprocess.run(["/bin/sh", str(script)], cwd=where, check=True)
    return (cpu_s()[1] - before) / times


def main() -> None:
    """Record, enlarge, replay, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--snapshots", type=int, default=20)
    parser.add_argument("--atoms", type=int, default=64, help="8 n^3")
    arguments = parser.parse_args()
    logging.disable()
    with tempfile.TemporaryDirectory(prefix="label-overhead-") as name:
        folder = Path(name)
        os.environ.update(
            PMG_VASP_PSP_DIR=str(synthetic_potcars.make(folder / "potcars", ["Mg", "O"])),
            FILES=str(folder / "files"),
        )
        record, replay = folder / "record.sh", folder / "replay.sh"
        double = RECORD.format(python=sys.executable, double=ROOT / "tests" / "vasp_double.py")
        record.write_text(REPLAY + double + "cp INCAR POSCAR $k; cp WAVECAR $k || true\n", encoding="utf-8")
        replay.write_text(REPLAY + "cp $k/vasprun.xml $k/O* $k/CONTCAR .; touch WAVECAR\n", encoding="utf-8")
        selection = folder / "selection.parquet"
        write_selection(selection, arguments.snapshots, arguments.atoms)
        run_batch(folder, "recorded", record, selection)
        size = enlarge(folder / "files", arguments.atoms)
        vasp = 2 * replay_alone(folder, replay, 20)
        before = cpu_s()
        run_batch(folder, "replayed", replay, selection)
        mine, theirs = ((b - a) / arguments.snapshots for a, b in zip(before, cpu_s(), strict=True))
    print(f"{arguments.atoms} atoms, vasprun.xml of {size / 1e6:.1f} MB; CPU s for a snapshot, PBE + r2SCAN:")
    print(f"  this process         {mine:7.3f}")
    print(f"  supervisors          {theirs - vasp:7.3f}")
    print(f"  beyond VASP          {mine + theirs - vasp:7.3f}   (at most 1.5)")
    print(f"  the command itself   {vasp:7.3f}")


if __name__ == "__main__":
    main()
