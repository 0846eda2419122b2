"""The layouts in which builds of VASP write the same result: one label, whatever the build, and for one ion
as for many.

The double's layouts are those of real outputs, line by line.
"""

import re
from dataclasses import replace

import numpy as np
import pytest

from labelling import label_atoms_of, label_batch_of
from pesatlas.config.campaign import Campaign
from pesatlas.label.backend import Result, Task
from pesatlas.label.vasp.strip_outputs import BadOutputError, read_outcar
from pesatlas.tables import read_table, write_table
from vasp_cases import calculate, options, runs, set_up, task
from vasp_corpus import CORPUS, cases, read, text_of

LAYOUTS = {"vasp6": "6.4.3", "profile": "6.4.3", "vasp5": "5.4.4.18Apr17-6-g9f103f2a35"}


def use(monkeypatch, layout):
    """Let the double write in a layout; return the options of a level of its version."""
    monkeypatch.setenv("VASP_DOUBLE_LAYOUT", layout)
    monkeypatch.setenv("VASP_DOUBLE_VERSION", LAYOUTS[layout])
    return options(vasp_version=LAYOUTS[layout])


def plain(outcome):
    """A result without what differs from build to build, and from run to run."""
    return replace(outcome, wall_s=0) if isinstance(outcome, Result) else outcome


@pytest.fixture(params=["crystal", "one ion"])
def asked(request, monkeypatch):
    """A function that asks for a crystal of four ions or of one at a level."""
    whole = task

    def one(level, name, about):
        base = whole(level, name, about)
        return Task(np.array([26]), np.diag([2.6, 2.7, 2.8]), np.zeros((1, 3)), base.level)

    if request.param == "one ion":
        monkeypatch.setattr("vasp_cases.task", one)
    return request.param


@pytest.mark.parametrize("layout", ["profile", "vasp5"])
def test_a_label_is_the_same_in_every_layout(tmp_path, monkeypatch, asked, layout):
    set_up(tmp_path, monkeypatch)
    found = {}
    for name in ("vasp6", layout):
        about = use(monkeypatch, name)
        (tmp_path / name).mkdir()
        pbe, place = calculate(tmp_path / name, "pbe", about=about)
        assert isinstance(pbe, Result), pbe
        r2scan, _ = calculate(tmp_path / name, "r2scan", about=about, handover=place.handover)
        assert isinstance(r2scan, Result), r2scan
        found[name] = plain(pbe), plain(r2scan)
    assert found[layout] == found["vasp6"]
    assert found[layout][0].magmoms_muB == ([4.2] if asked == "one ion" else [0.0, 4.2, 0.0, 4.2])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_r2scan_starts_from_the_moments_of_pbe(tmp_path, monkeypatch, asked, layout):
    set_up(tmp_path, monkeypatch)
    about = use(monkeypatch, layout)
    outcome, _ = calculate(tmp_path, "r2scan", about=about)
    assert outcome.settings["start"] == "PBE wavefunction and moments"
    # the input set's own guess is 5.0
    wanted = [4.2] if asked == "one ion" else [4.2, 4.2, 0.0, 0.0]
    assert outcome.settings["incar"]["MAGMOM"] == wanted
    assert runs(tmp_path, "PBE") == runs(tmp_path, "R2SCAN") == 1


def test_profiles_are_long_and_hide_no_torn_file(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    use(monkeypatch, "profile")
    _, place = calculate(tmp_path, "pbe")
    text = (place.scratch / "OUTCAR").read_text()
    timings = text.index(" General timing")
    assert len(text) - timings > 25_000
    torn = tmp_path / "OUTCAR"
    for cut in range(timings, timings + 900, 30):
        torn.write_text(text[:cut])
        whole = "Voluntary context switches:" in text[: cut - 20]
        assert read_outcar(torn).finished <= whole, text[cut - 100 : cut]
    torn.write_text(text[:-10])
    assert not read_outcar(torn).finished
    # the next run of this folder has begun and not ended; a run that ended stands before it
    torn.write_text(text + text[: len(text) // 3])
    with pytest.raises(BadOutputError, match="two runs"):
        read_outcar(torn)


def test_vasp_5_says_that_ediff_is_reached_where_it_is_not(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch, "unconverged")
    outcome, place = calculate(tmp_path, "pbe", about=use(monkeypatch, "vasp5"))
    text = (place.scratch / "OUTCAR").read_text()
    assert "EDIFF is reached" in text
    assert "not reached" not in text
    assert outcome.reason == "not_converged"
    # custodian's cures are tried, though pymatgen stops at the asterisks of this vasprun.xml
    assert "Unconverged: INCAR ALGO = All" in outcome.detail
    assert runs(tmp_path) == 3


@pytest.fixture
def campaign_of(campaign, select, tmp_path, monkeypatch):
    """A function that labels a batch of crystals, and isolated atoms, in a layout; returns rows and
    failures."""
    set_up(tmp_path, monkeypatch)

    def run(layout, plan=None):
        folder = tmp_path / (layout + ("-faulty" if plan else ""))
        folder.mkdir()
        about = use(monkeypatch, layout)
        monkeypatch.setenv("VASP_DOUBLE_MEMORY", str(folder / "memory"))
        monkeypatch.delenv("VASP_DOUBLE_FAULTS", raising=False)
        if plan:
            (folder / "plan.json").write_text(plan)
            monkeypatch.setenv("VASP_DOUBLE_FAULTS", str(folder / "plan.json"))
        raw = campaign.model_dump(mode="json")
        raw["campaign"]["store"] = str(folder / "store")
        raw["label"] |= {"backend": about.model_dump(), "scratch": str(tmp_path / "scratch"), "attempts": 1}
        made = Campaign.model_validate(raw)
        selection = with_one_ion(read_table(select(3.0, 3.1), "selection").to_pylist(), folder)
        names = [folder / f"{name}.parquet" for name in ("labels", "failures", "atoms", "failed-atoms")]
        label_batch_of(made, 0, selection, *names[:2], folder / "work")
        label_atoms_of(made, structures(selection, folder), *names[2:], folder / "work")
        tables = ("labels", "failures", "atoms", "failures")
        return [read_table(path, table).to_pylist() for path, table in zip(names, tables, strict=True)]

    return run


def with_one_ion(rows, folder):
    """A selection with a crystal of one ion beside the others."""
    one = {**rows[0], "snapshot_id": "fe:unit:300K-0GPa:0000001", "n_atoms": 1, "numbers": [26]}
    one |= {"cell_A": [2.6, 0, 0, 0, 2.7, 0, 0, 0, 2.8], "positions_A": [0.0, 0, 0]}
    path = folder / "selection.parquet"
    write_table(path, "selection", [*rows, one], "s", {"pool": len(rows) + 1, "selected": len(rows) + 1})
    return path


def structures(selection, folder):
    """A table of structures with the elements of a selection."""
    path = folder / "structures.parquet"
    rows = [
        {
            "structure_id": f"s{i}",
            **{
                name: row[name]
                for name in ("variant", "domain", "n_atoms", "numbers", "cell_A", "positions_A")
            },
            "formula": "x",
            "conditions": [],
            "batch": 0,
            "warnings": [],
            "source": "s",
            "code_version": "0",
        }
        for i, row in enumerate(read_table(selection, "selection").to_pylist())
    ]
    write_table(path, "structures", rows, "s")
    return path


PHYSICS = ("energy_eV", "free_energy_eV", "forces_eV_per_A", "stress_eV_per_A3", "magmoms_muB", "settings")


def physics(rows):
    names = [name for name in ("snapshot_id", "element", "level", *PHYSICS) if rows and name in rows[0]]
    return [[row[name] for name in names] for row in rows]


@pytest.mark.parametrize("layout", ["profile", "vasp5"])
def test_a_campaign_ends_the_same_in_every_layout(campaign_of, layout):
    labels, failures, atoms, failed = campaign_of("vasp6")
    assert (len(labels), len(atoms), failures, failed) == (6, 6, [], [])  # O, Mg, Fe alone; two levels
    for row in (*labels, *atoms):
        assert row["magmoms_muB"] is not None
        assert ("PBE wavefunction and moments" in row["settings"]) == (row["level"] == "r2scan")
    others = campaign_of(layout)
    assert physics(others[0]) == physics(labels)
    assert physics(others[2]) == physics(atoms)
    assert (others[1], others[3]) == ([], [])


@pytest.mark.parametrize("fault", ["absurd", "starred_moments", "no_moments"])
def test_one_bad_output_costs_its_own_label_alone(campaign_of, fault):
    """Of r2SCAN; PBE beside it, and other labels, are there, in the batch and among the isolated atoms."""
    labels, failures, atoms, failed = campaign_of("profile", f'{{"structures": {{"*": "r2scan/{fault}"}}}}')
    assert {row["level"] for row in (*labels, *atoms)} == {"pbe"}
    assert len(labels) == len(failures) == len(atoms) == len(failed) == 3
    for row in (*failures, *failed):
        assert (row["level"], row["reason"], row["attempts"]) == ("r2scan", "bad_output", 1)
        assert "OUTCAR" in row["detail"] or "vasprun.xml" in row["detail"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_spin_there_are_no_moments_and_no_failure(tmp_path, monkeypatch, layout):
    from vasp_double import calculate as numbers
    from vasp_double import read_inputs
    from vasp_files import write

    set_up(tmp_path, monkeypatch)
    use(monkeypatch, layout)
    _, place = calculate(tmp_path, "pbe", about=use(monkeypatch, layout))
    inputs = read_inputs(place.scratch)
    inputs.incar["ISPIN"] = "1"
    write(place.scratch, inputs, numbers(inputs, "PBE"))
    outcar = read_outcar(place.scratch / "OUTCAR")
    assert (outcar.finished, outcar.spin, outcar.moments_muB) == (True, "none", None)
    assert "total charge" in (place.scratch / "OUTCAR").read_text()


# Layouts of the double against real ones


def skeleton(text):
    """Lines without their numbers, and without repetition: what a layout is."""
    lines = []
    for line in text.splitlines():
        bare = re.sub(r"-?\d*\.?\d+(?:E[-+]\d+)?|N/A|\*{3,}", "#", line).rstrip()
        bare = re.sub(r"\s*#\.?(?:\s*#\.?)*", " #", bare)
        if not lines or bare != lines[-1]:
            lines.append(bare)
    return lines


SECTIONS = {
    "moments": (r"^ ?magnetization \(x\).*\n ?\n(?:.*\S.*\n)+", re.MULTILINE),
    "forces": (r"^ POSITION .*\n.*\n(?:.+\n)+", re.MULTILINE),
    "energies": (r"^  FREE ENERGIE OF.*\n.*\n.*\n\n.*\n", re.MULTILINE),
    "timings": (r"^ General timing.*?Voluntary[^\n]*\n", re.MULTILINE | re.DOTALL),
}


def section(text, name):
    pattern, flags = SECTIONS[name]
    found = re.findall(pattern, text, flags)
    return skeleton(found[-1]) if found else None


def real(layout, ions, spin):
    """Texts of real finished OUTCARs of a layout, with one ion or several."""
    for path, _ in cases().values():
        outcar = read(read_outcar, path) if path else None
        if not isinstance(outcar, BadOutputError) and outcar is not None and outcar.finished:
            text = text_of(path)
            profile = "PROFILE, used timers" in text
            version = (outcar.version or "0").split(".")[0]
            built = "vasp5" if version == "5" else "profile" if profile else f"vasp{version}"
            if (built, outcar.spin) == (layout, spin) and (outcar.n_atoms == 1) == (ions == 1):
                yield text


@pytest.mark.skipif(not (CORPUS / "real").is_dir(), reason="needs ../shared/data/vasp/real")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_doubles_outcar_is_laid_out_as_real_ones_are(tmp_path, monkeypatch, asked, layout):
    set_up(tmp_path, monkeypatch)
    _, place = calculate(tmp_path, "pbe", about=use(monkeypatch, layout))
    ours = (place.scratch / "OUTCAR").read_text()
    texts = list(real(layout, 1 if asked == "one ion" else 4, "collinear"))
    assert texts or (layout, asked) == ("profile", "one ion")  # nobody published one
    for name in SECTIONS:
        known = [section(text, name) for text in texts]
        assert section(ours, name) in known or not texts, (name, section(ours, name), known[:2])
    if layout == "profile" and texts:
        after = [skeleton(text[text.index("Voluntary") :])[:6] for text in texts]
        assert skeleton(ours[ours.index("Voluntary") :])[:6] in after
        assert all(skeleton(text)[-1] == skeleton(ours)[-1] for text in texts)
