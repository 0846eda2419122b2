"""Mistakes of a new user: each answer names the mistake, its place and the remedy, without a traceback."""

import errno
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pesatlas.cli.error_messages import message_for_people
from pesatlas.cli.main import app

FINISHED = Path(__file__).parents[1] / "dataset" / "schema_3"
FRAME = '2\nLattice="4 0 0 0 4 0 0 0 4" pbc="T T T"\nNa 0 0 0\nCl 2 2 2\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a finished campaign, one that has not finished, one that was damaged, and files that are
    no good."""
    monkeypatch.chdir(tmp_path)
    for name in ("results", "unfinished", "damaged"):
        shutil.copytree(FINISHED, name)
    Path("unfinished/manifest.json").unlink()
    table = Path("damaged/dataset/pbe/part-00000.parquet")
    table.write_bytes(table.read_bytes()[:300])
    for name, text in {
        "torn/manifest.json": "{",
        "foreign/manifest.json": "{}",
        "full/mine.txt": "mine",
        "empty.extxyz": "",
        "molecule.xyz": "1\nwater\nO 0 0 0\n",
        "frame.extxyz": FRAME,
        "notes.json": "not JSON",
        "notes.txt": "notes",
        "torn.yaml": "campaign: [",
        "list.yaml": "- campaign",
        "profiles/slurm/config.yaml": "executor: slurm\n",
    }.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00")
    return tmp_path


# what is typed; what the message says: what is wrong, and what to do
WRONG = [
    ("summry", "No such command 'summry'", "Did you mean 'summary'"),
    ("verify --fast", "No such option", "--help"),
    ("export mace results more", "unexpected extra argument", "--help"),
    ("plan --structures 0", "--structures", "greater than or equal to 1"),
    ("outputs mp-149", "Missing option '--to'", "--help"),
    ("verify nowhere", "there is no folder nowhere", "Did you mean results?"),
    ("summary full", "full has no manifest.json", "Did you mean results?"),
    ("verify results/manifest.json", "is a file", "Did you mean results?"),
    ("query 'SHOW TABLES' results/dataset", "has no manifest.json", "Did you mean results?"),
    ("verify unfinished", "has not finished", "`pesatlas run` continues"),
    ("export mace unfinished", "has not finished", "`pesatlas status` shows"),
    ("verify torn", "torn/manifest.json is not readable", "`pesatlas run` writes it again"),
    ("summary foreign", "is not the manifest of a campaign", "Name a folder of results"),
    ("verify damaged", "damaged/dataset/pbe/part-00000.parquet: 300 bytes, its manifest says", "run again"),
    ("query 'FROM dataset' damaged", "table dataset of damaged is damaged", "pesatlas verify damaged"),
    ("diff results damaged", "a table cannot be read", "pesatlas verify"),
    ("query 'SELEC 1'", "syntax error", "SELEC 1"),
    ("query 'SELECT * FROM snapshot'", "Table with name snapshot does not exist", "There are: structures"),
    ("query 'SELECT energy FROM dataset'", 'column "energy" not found', '"DESCRIBE dataset" names'),
    ("query ''", "is not a query", "Begin with SELECT"),
    ("query 'DROP VIEW dataset'", "only read", "Begin with SELECT"),
    (
        "query 'FROM dataset' --to rows.txt",
        "rows.txt",
        "end the name with .csv, .parquet, .xlsx, .extxyz or .xyz",
    ),
    ("query 'FROM dataset' --to notes.txt/rows.csv", "notes.txt", "Name another path"),
    ("explain NaCI:unit:300K-0GPa:50", "no crystal 'NaCI'", "e.g. NaCl"),
    ("explain NaCl:unit:300K-0GPa:51", "no snapshot NaCl:unit:300K-0GPa:51", "e.g. NaCl:unit:300K-0GPa:"),
    ("reproduce NaCl:unit:300K-0GPa:0000050 --to full", "not an empty folder", "with --to"),
    ("export extxy", "no export 'extxy'", "Choose one of"),
    ("export mace --to full", "not an export in the format mace", "Name another folder"),
    ("export mace --to notes.txt", "notes.txt is a file", "Name a folder"),
    ("release 'my data'", "'my data' is not a valid name for a release", "e.g. 2026.1"),
    ("release 2026.1 --to notes.txt", "notes.txt is a file", "with --to"),
    ("release 2026.1 --since nowhere", "no folder nowhere", "Did you mean results?"),
    ("import nowhere.json --level pbe", "nowhere.json: no such file", "Name one of"),
    ("import notes.txt --level pbe", "neither a folder, an archive", "nor an OUTCAR"),
    (
        "import notes.json --level pbe",
        "contains no usable rows (1 unreadable)",
        "A row needs a periodic structure",
    ),
    ("import full --level pbe --format extxyz", "full is a folder", "Name a file in it"),
    (
        "import notes.json --level pbe --format vasp",
        "--format vasp: there is no such format",
        "Choose one of",
    ),
    ("import empty.extxyz --level pbe", "contains no rows", "Name another file"),
    ("describe results", "results: no such file", "e.g. results/selection.parquet"),
    ("describe notes.txt", "is not a readable Parquet file", "Name one below results/"),
    ("config new --preset large", "no preset 'large'", "Choose one of"),
    ("config check nowhere.yaml", "no such file", "pesatlas config new"),
    ("config check results", "results is a folder", "Name the file"),
    ("config check torn.yaml", "not valid YAML", "line 1"),
    ("config check binary.yaml", "not valid YAML", "byte 0xff"),
    ("config check list.yaml", "contains no configuration", "expected sections"),
    ("status results", "no campaign in", "Run the command in the folder of the campaign"),
    ("status --config nowhere.yaml", "nowhere.yaml: no such file", "pesatlas config new"),
    ("retry", "no campaign in", "Run the command in the folder of the campaign"),
    ("plan", "config.yaml: no such file", "pesatlas config new"),
    ("run --profile nowhere", "--profile nowhere: no such folder", "Name a profile folder"),
    ("run", "no config.yaml in", "pesatlas config new"),
    ("select nowhere.xyz --count 3 --to o.xyz", "'nowhere.xyz' does not exist", "Correct the path"),
    ("select notes.txt --count 3 --to o.xyz", "has no known format", "Rename or convert it"),
    ("select empty.extxyz --count 3 --to o.xyz", "no periodic structure", "it holds no structure"),
    ("select molecule.xyz --count 3 --to o.xyz", "no periodic structure", "give it a cell"),
    ("select frame.extxyz --count 3 --to notes.txt", "notes.txt exists already", "Choose another name"),
    ("select frame.extxyz --count 3 --to o.foo", "o.foo", "a name that ends in .extxyz"),
    ("select frame.extxyz --count 3 --to o.xyz --policy best", "--policy best", "Choose one of"),
    ("select frame.extxyz --count 3 --to o.xyz --weights full", "'full': no model.json", "Give a folder"),
    ("select frame.extxyz --count 3 --to o.xyz --device gpu", "encode.device = 'gpu'", "cpu, cuda, cuda:1"),
]


def run(typed):
    return CliRunner().invoke(app, shlex.split(typed), prog_name="pesatlas")


@pytest.mark.parametrize(("typed", "wrong", "remedy"), WRONG, ids=[each[0] for each in WRONG])
def test_it_is_said_what_is_wrong_and_what_to_do(folder, monkeypatch, typed, wrong, remedy):
    monkeypatch.setenv("COLUMNS", "300")
    done = run(typed)
    said = " ".join(done.stderr.split())
    assert done.exit_code in {1, 2}
    assert isinstance(done.exception, SystemExit), done.exception
    assert wrong in said
    assert remedy in said
    assert "Traceback" not in done.output
    assert "\x1b" not in done.output


def test_a_profile_for_slurm_where_there_is_none_says_where_to_start(folder, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    (folder / "config.yaml").write_text("")
    done = run("run --profile profiles/slurm")
    assert done.exit_code == 1
    assert "there is no sbatch here. Run on a login node" in done.stderr


def test_a_second_release_of_the_same_name_is_refused(folder):
    assert run("release 2026.1").exit_code == 0
    done = run("release 2026.1")
    assert done.exit_code == 1
    assert "never changes. Give the new one another name." in done.stderr


def test_nothing_is_left_behind_by_what_is_refused(folder):
    before = sorted(folder.rglob("*"))
    for typed in (
        "import empty.extxyz --level pbe",
        "export mace unfinished",
        "query 'FROM nothing' --to a/b.csv",
    ):
        assert run(typed).exit_code == 1
    assert sorted(folder.rglob("*")) == before


def test_a_package_that_is_not_installed_is_named_with_how_to_get_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ase_db_backends.aselmdb", None)
    done = run("export aselmdb")
    assert done.exit_code == 1
    assert "pip install 'pesatlas[export]'" in done.stderr


def test_a_gpu_that_is_not_there_is_told_before_anything_is_read(folder, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    done = run("select frame.extxyz --count 3 --to o.xyz --device cuda:1")
    assert "there are 1 GPUs here, from cuda:0 to cuda:0" in done.stderr
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    done = run("select frame.extxyz --count 3 --to o.xyz --device cuda")
    assert done.exit_code == 1
    assert "torch finds no GPU on this machine. Set it to cpu" in done.stderr


def test_errors_of_the_system_become_advice_and_mistakes_of_the_program_do_not():
    for number, remedy in (
        (errno.EACCES, "ask for the right"),
        (errno.EROFS, "Name a place that can be written to"),
        (errno.ENOSPC, "Make room"),
    ):
        said = message_for_people(OSError(number, "no", "/data/out"))
        assert said.startswith("/data/out: no. ")
        assert remedy in said
    # whoever writes to an open file is not told its name
    assert message_for_people(OSError(errno.ENOSPC, "No space left on device")).startswith(
        "No space left on device. Make room"
    )
    assert message_for_people(BrokenPipeError(errno.EPIPE, "no")) is None
    assert message_for_people(KeyError("energy_eV")) is None
