"""Moments at which a campaign, or a command on it, is killed, chosen by what the process is doing."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pyarrow.parquet as pq

import synthetic_potcars
from slurm_campaign import DOUBLE, ELEMENTS
from small_campaign import ROOT, TINY, SmallCampaign, copy_of

LEVELS = ("pbe", "r2scan")
CHANGES = TINY | {"label.backend": DOUBLE}
_TIMED = ("report.html", "hours.png")
"""Files of results that show how long things took."""
_LEFT = re.compile(r"\.tmp$|\.new$|\.building$")
"""Names of what is on its way to be a file."""


@dataclass(frozen=True)
class Point:
    """A moment in the work of a command.

    Attributes
    ----------
    what : the moment, in words
    event : an audit event of Python, which comes before the thing is done
    path : what its path matches
    gone : what has to be taken away from a finished campaign for the command to get there
    command : the command, without ``pesatlas``
    count : which of these events
    """

    what: str
    event: str
    path: str
    gone: tuple[str, ...] = ()
    command: tuple[str, ...] = ("run",)
    count: int = 1


_FIGURES = ("report.html", "figures")
_REPORT = ("report", *_FIGURES)
_CARD = ("card.*", "CITATION.cff", "ro-crate-metadata.json")
_COLLECT = ("manifest.json", "dataset", "quarantine", "failures/dataset.*", "exports", *_CARD, *_REPORT)
_LABEL = ("labels", "failures/label", "failures/atoms.*", *_COLLECT)
_SELECT = ("selection.*", "select/quality.*", *_LABEL)
_ENCODE = ("features", "select", *_SELECT)
_EXPLORE = ("snapshots", "failures/explore", *_ENCODE)
_STRUCTURES = ("structures.*", "failures/structures.*", *_EXPLORE)


def _entry(table):
    """A pattern for the beginning of a table's manifest entry: the table itself is in its place by then."""
    folder, _, name = table.rpartition("/")
    return rf"{folder}/\.{re.escape(name)}\.manifest\.json\.\w+\.tmp$"


RUN = (
    Point("structures: table renamed, no entry", "open", _entry("results/structures.parquet"), _STRUCTURES),
    Point("isolated atoms: table renamed, no entry", "open", _entry("labels/atoms.parquet"), _LABEL),
    Point("explore: table renamed, no entry", "open", _entry("snapshots/00000.parquet"), _EXPLORE),
    Point("encode: table renamed, no entry", "open", _entry("features/00000.parquet"), _ENCODE),
    Point("select: before the rename of the selection", "os.rename", r"results/selection\.parquet$", _SELECT),
    Point("select: table renamed, no entry", "open", _entry("results/selection.parquet"), _SELECT),
    Point("label: the store's index begun", "open", r"store/labels/places\.index\.new$", _LABEL),
    Point("label: before the rename of the store's index", "os.rename", r"labels/places\.index$", _LABEL),
    Point("label: before the rename of the labels", "os.rename", r"labels/00000\.parquet$", _LABEL),
    Point("label: labels renamed, no entry", "open", _entry("labels/00000.parquet"), _LABEL),
    Point("label: labels there, failures not", "os.rename", r"failures/label/00001\.parquet$", _LABEL),
    Point("collect: dataset renamed, no entry", "open", _entry("dataset/pbe/part-00000.parquet"), _COLLECT),
    Point("collect: one level there, the other not", "os.rename", r"r2scan/part-00000\.parquet$", _COLLECT),
    Point("collect: quarantine renamed, no entry", "open", _entry("quarantine/r2scan.parquet"), _COLLECT),
    Point(
        "collect: dataset there, no manifest.json", "open", r"results/\.manifest\.json\.\w+\.tmp$", _COLLECT
    ),
    Point("collect: before the rename of manifest.json", "os.rename", r"results/manifest\.json$", _COLLECT),
    Point("export: folder marked, no data", "open", r"matpes/demo-[^/]+$", ("exports",)),
    Point("export: data there, no record", "os.rename", r"exports/matpes/export\.json$", ("exports",)),
    Point("card: before the rename of card.json", "os.rename", r"results/card\.json$", _CARD),
    Point("card: card there, its page not", "os.rename", r"results/card\.md$", _CARD),
    Point("card: page there, no citation", "os.rename", r"results/CITATION\.cff$", _CARD),
    Point("report: parity renamed, no entry", "open", _entry("report/parity.parquet"), _REPORT),
    Point("report: half of its figures there", "os.rename", r"figures/\w+\.png$", _FIGURES, count=10),
    Point("report: before the rename of the page", "os.rename", r"results/report\.html$", _FIGURES),
)
_RELEASE = ("release", "1", "--to", "releases")
_RETRY = ("retry", "--reason", "not_converged")
_REPAIR = ("store", "repair")
_IMPORT = ("import", "results/exports/matpes/demo-PBE.json.gz", "--level", "pbe", "--to", "theirs.parquet")
COMMANDS = (
    Point("release: half of its files copied", "shutil.copyfile", "", command=_RELEASE, count=12),
    Point("release: copied, no checksums", "open", r"building/\.SHA256SUMS", command=_RELEASE),
    Point("release: half of it write-protected", "os.chmod", r"building/", command=_RELEASE, count=30),
    Point("release: before the rename of the folder", "os.rename", r"releases/1$", command=_RELEASE),
    Point("release: folder renamed, not on the disk", "open", r"/releases$", command=_RELEASE),
    Point("retry: nothing recorded", "open", r"requeued-\w+\.ledger$", command=_RETRY),
    Point("retry: recorded, no table taken away", "os.remove", r"results/manifest\.json$", command=_RETRY),
    Point(
        "retry: no manifest.json, all tables there", "os.remove", r"labels/0000\d\.parquet$", command=_RETRY
    ),
    Point("retry: a table gone, its entry there", "os.remove", r"0000\d\.parquet\.manifest", command=_RETRY),
    Point("store repair: damage kept aside", "open", r"\.ledger\.new$", command=_REPAIR),
    Point("store repair: before the ledger's rename", "os.rename", r"\.ledger$", command=_REPAIR),
    Point("store repair: ledger renamed, tails there", "open", r"\.torn\.new$", command=_REPAIR),
    Point("store repair: before the tails' rename", "os.rename", r"\.ledger\.torn$", command=_REPAIR),
    Point("import: before the rename of its table", "os.rename", r"theirs\.parquet$", command=_IMPORT),
    Point("import: table renamed, no entry", "open", _entry("/theirs.parquet"), command=_IMPORT),
)


class KilledCampaign(SmallCampaign):
    """A tiny campaign of silicon, labelled by the double of VASP, of whose calculations some do not
    converge."""

    def __init__(self, path, changes=None):
        super().__init__(path, CHANGES | (changes or {}))
        synthetic_potcars.make(path / "potcars", ELEMENTS)
        self.let_fail(["unconverged"])

    def let_fail(self, faults):
        """Let a third of the calculations fail in one of these ways; none if there are none."""
        plan = {"fraction": 0.3 if faults else 0.0, "faults": faults}
        (self.path / "faults.json").write_text(json.dumps(plan))

    @property
    def environment(self):
        killing = [str(ROOT / "tests" / "killing"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return os.environ | {
            "PYTHONPATH": os.pathsep.join(killing),
            "PMG_VASP_PSP_DIR": str(self.path / "potcars"),
            "VASP_DOUBLE_FAULTS": str(self.path / "faults.json"),
            "VASP_DOUBLE_MEMORY": str(self.path / "memory"),
            "STORE_INDEX_AFTER": "0",
        }

    def start(self, command, environment=None):
        """Start a command in a process group of its own; its output goes to output.txt."""
        with (self.path / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "pesatlas.cli.main", *command],
                cwd=self.path,
                env=environment or self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def do(self, *command, statuses=(0,)):
        """Run a command to its end."""
        status = self.start(command).wait(600)
        if status not in statuses:
            raise RuntimeError(f"{command} ended with {status}: {self.output[-3000:]}")

    @property
    def index(self):
        """The index of the store of labels."""
        return self.path / self.configuration["campaign"].get("store", "store") / "labels" / "places.index"

    @property
    def output(self):
        return (self.path / "output.txt").read_text()

    def kill_at(self, point):
        """Run the command of a point until it is killed there."""
        happened = self.path / "happened"
        happened.unlink(missing_ok=True)
        plan = {"event": point.event, "path": point.path, "count": point.count, "happened": str(happened)}
        if "places" in point.path:
            # another campaign on the store may have brought the index up to date: nothing left to write
            self.index.unlink(missing_ok=True)
        for again in (False, True):
            if again:
                # a job that ran beside the one killed before had come to its end by then
                self.take_away(point.gone)
            process = self.start(point.command, self.environment | {"KILL_AT": json.dumps(plan)})
            status = process.wait(600)
            if happened.exists():
                return
        raise RuntimeError(f"never came to '{point.what}' (ended with {status}): {self.output[-3000:]}")

    def take_away(self, patterns):
        """Delete parts of the results, and what the store knows of the labels in them."""
        for pattern in patterns:
            for path in list((self.path / "results").glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if "labels" in patterns:
            self.index.unlink(missing_ok=True)

    def damage_store(self):
        """Flip a bit in the result of a record, and cut the tail of another ledger off, as a power cut would
        leave it."""
        ledgers = sorted((self.path / "store/labels").glob("batch-*.ledger"))
        content = bytearray(ledgers[0].read_bytes())
        content[content.index(b"\n") + 10] ^= 4
        ledgers[0].write_bytes(content)
        content = ledgers[1].read_bytes()
        start = content.rindex(b'\n{"')
        ledgers[1].write_bytes(content[: start + 1])
        ledgers[1].with_name(f"{ledgers[1].name}.torn").write_bytes(content[start + 1 :] + content[:20])

    def bytes_of(self, folder="results"):
        """The content of every file below a folder, but of those that show times."""
        return {
            path.relative_to(self.path).as_posix(): path.read_bytes() if path.name not in _TIMED else b""
            for path in sorted((self.path / folder).rglob("*"))
            if path.is_file() and not path.name.endswith(".lock")
        }

    def rows(self):
        """Rows of every table of the results, in all columns but the time that they took."""
        found = {}
        for path in sorted((self.path / "results").rglob("*.parquet")):
            table = pq.read_table(path)
            timed = [name for name in table.column_names if name == "wall_s"]
            found[path.relative_to(self.path).as_posix()] = table.drop_columns(timed).to_pylist()
        return found

    def left_behind(self):
        """Files that are on their way to be one, after all has ended."""
        return [
            path.relative_to(self.path).as_posix()
            for path in self.path.rglob("*")
            if _LEFT.search(path.name) and ".snakemake" not in path.parts
        ]


def copy_to(finished, path):
    """A copy of a finished campaign, to kill; its paths are its own."""
    twin = copy_of(finished, path)
    twin.change({})
    return twin


def prepare(campaign, command):
    """Bring a finished campaign into the state in which a command has something to do."""
    if command == _RETRY:
        campaign.let_fail([])
    elif command == _REPAIR:
        campaign.damage_store()


def end(campaign, command):
    """Give a command to its end, and return what it is for: what has to be equal to that of a campaign never
    killed."""
    if command == _RELEASE:
        # a release that was whole when it was killed is refused to be made again
        campaign.do(*command, statuses=(0, 1))
        campaign.do("verify", "releases/1")
        return campaign.bytes_of("releases")
    if command == _IMPORT:
        campaign.do(*command)
        return {name: text for name, text in campaign.bytes_of(".").items() if name.startswith("theirs")}
    # what nothing matches any more was put back into the queue by the killed one
    campaign.do(*command, statuses=(0, 1) if command == _RETRY else (0,))
    if command == _REPAIR:
        return campaign.bytes_of("store/labels")
    if command == _RETRY:
        campaign.do("run")
        campaign.do("verify")
        return campaign.rows()
    campaign.do("verify")
    return campaign.bytes_of("results")
