"""Finished runs of the double, as people keep them: with POTCARs that are called as VASP's own, and settings
that may be others."""

import gzip
import shutil
import tarfile
import zipfile
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

import synthetic_potcars
import vasp_double
from pesatlas.label.vasp import inputs
from vasp_cases import ELEMENTS, task

PLUS_U = {
    "LDAU": ".TRUE.",
    "LDAUTYPE": "2",
    "LDAUL": "2 -1",
    "LDAUU": "5.3 0",
    "LDAUJ": "0 0",
    "LDAUPRINT": "1",
}


@contextmanager
def potcars_called_as_vasps(folder):
    """Synthetic POTCARs with the titles that MatPES' have."""
    with pytest.MonkeyPatch.context() as patch:
        made = synthetic_potcars.make(folder, ELEMENTS, published_titles=True)
        patch.setenv("PMG_VASP_PSP_DIR", str(made))
        yield


def make_run(folder, name="metal", functional="PBE", version="6.4.3", titles=None, **incar):
    """Calculate a crystal of ``vasp_cases`` in ``folder``, with keys of its INCAR changed (None: without)."""
    folder.mkdir(parents=True)
    level = {"PBE": "pbe", "R2SCAN": "r2scan"}[functional]
    inputs.write(folder, task(level, name), functional, allow_unknown_potcars=True)
    keys = vasp_double.read_incar((folder / "INCAR").read_text())
    keys = {key: value for key, value in {**keys, **incar}.items() if value is not None}
    (folder / "INCAR").write_text("".join(f"{key} = {value}\n" for key, value in keys.items()))
    for old, new in (titles or {}).items():
        text = (folder / "POTCAR").read_text()
        (folder / "POTCAR").write_text(text.replace(old, new))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as said:
        patch.setenv("VASP_DOUBLE_VERSION", version)
        assert vasp_double.main(folder) == 0, said.getvalue()
    return folder


def pack(folder, suffix=""):
    """Compress every file as atomate2 does, with custodian's suffix before the ending."""
    for path in [path for path in folder.iterdir() if path.is_file()]:
        with gzip.open(path.with_name(f"{path.name}{suffix}.gz"), "wb") as packed:
            packed.write(path.read_bytes())
        path.unlink()
    return folder


def archive(folder, path):
    """Put a folder into an archive of the kind that its name says, and remove it."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for each in folder.rglob("*"):
                zipped.write(each, Path(folder.name) / each.relative_to(folder))
    else:
        with tarfile.open(path, f"w:{path.suffix[1:]}") as tar:
            tar.add(folder, folder.name)
    shutil.rmtree(folder)
    return path


def collection(top):
    """Some runs below ``top/runs`` as the documentation shows them: four of MatPES' PBE, others, and one
    without vasprun.xml."""
    runs = top / "runs"
    with potcars_called_as_vasps(top / "potcars"):
        make_run(runs / "metal")
        pack(make_run(runs / "halide" / "static", "halide"))
        pack(make_run(runs / "oxide", "magnetic oxide"), ".relax2")
        (runs / "oxide" / "OUTCAR.orig").write_text("put aside")
        archive(make_run(runs / "fluoride", "lanthanide"), runs / "old.tar.gz")
        make_run(runs / "oxide-U", "magnetic oxide", **PLUS_U)
        make_run(runs / "coarse", KSPACING="0.5", ISMEAR="1")
        make_run(runs / "without", "halide", NELM="120")
        (runs / "without" / "vasprun.xml").unlink()
    return runs
