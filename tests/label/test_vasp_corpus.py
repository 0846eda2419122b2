"""Outputs of VASP as public test suites have them: what our readers make of them, and what pymatgen's do."""

import pytest

from pesatlas.label.vasp.strip_outputs import TornError, read_outcar, read_run
from vasp_corpus import CORPUS, cases, compare, compare_pairs, read, text_of

pytestmark = pytest.mark.skipif(
    not (CORPUS / "real").is_dir(),
    reason="needs the outputs of public test suites (../shared/data/vasp/real)",
)


def test_every_run_is_read_as_pymatgen_reads_it_or_refused_with_a_reason():
    count, words, unexplained = compare()
    assert unexplained == {}
    assert words["vasprun.xml agrees"] >= count // 3, words
    assert words["OUTCAR agrees"] >= count // 3, words


def test_two_files_of_one_run_agree_and_two_of_different_runs_do_not():
    words = compare_pairs()
    # one OUTCAR is kept beside the vasprun.xml of four other cutoffs
    assert words.keys() == {"agree", "one of the two is refused", "of two runs: its energy_eV differs"}
    assert words["agree"] >= 15
    assert words["of two runs: its energy_eV differs"] == 4


def test_a_torn_file_is_never_a_finished_one(tmp_path):
    torn = tmp_path / "torn"
    for outcar, vasprun in cases().values():
        if outcar is not None:
            data = text_of(outcar).encode()[-400_000:]
            end = data.find(b" General timing and accounting")
            for part in range(6):
                cut = part * len(data) // 6
                torn.write_bytes(data[:cut])
                found = read(read_outcar, torn)
                # a profile, after the timings, is no part of the run
                assert isinstance(found, TornError) or not found.finished or 0 < end < cut, (outcar, cut)
        if vasprun is not None:
            data = text_of(vasprun).encode()
            for part in range(6) if len(data) < 2_000_000 else ():
                torn.write_bytes(data[: part * len(data) // 6])
                assert isinstance(read(read_run, torn), TornError), (vasprun, part)
