"""The folder of a small campaign: the demo's configuration with some values changed, and the dataset that it
makes."""

import copy
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).parents[1]
# One crystal of two atoms, a tenth of a picosecond, four labels: every stage for real, in a minute.
TINY = {
    "structures.sources": [{"kind": "demo", "names": ["Si"]}],
    "structures.domains.0.supercell": None,
    "explore.length_ps": 0.1,
    "explore.frame_interval_ps": 0.01,
    "select.target": 4,
    "label.structures_per_job": 2,
    "dataset.exports.formats": ["matpes"],  # all others in tests of their own
}


class SmallCampaign:
    """A working folder with a configuration.

    Parameters
    ----------
    path : the folder, which is made if it is not there
    changes : values of the demo's configuration by dotted key
    """

    def __init__(self, path, changes):
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.configuration = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
        self.configuration["label"]["backend"]["quality"] = "demo"  # its k-points are half the cost
        self.change(changes)

    def change(self, changes):
        """Change values by dotted key and write config.yaml, if it is another then."""
        self.configuration = copy.deepcopy(self.configuration)
        for key, value in changes.items():
            *parents, last = key.split(".")
            section = self.configuration
            for parent in parents:
                section = section[int(parent)] if isinstance(section, list) else section[parent]
            section[last] = value
        file, text = self.path / "config.yaml", yaml.safe_dump(self.configuration)
        if not file.exists() or file.read_text() != text:
            file.write_text(text)

    def dataset(self, level):
        """Rows of the dataset, without how long they took."""
        table = pq.read_table(self.path / "results" / "dataset" / level / "part-00000.parquet")
        return table.drop_columns(["wall_s"]).to_pylist()


def jobs(output):
    """Numbers of jobs by rule, as Snakemake's dry run tells them."""
    table = output.split("Job stats:")[-1] if "Job stats:" in output else ""
    return {
        name: int(count)
        for name, count in re.findall(r"^(\w+)\s+(\d+)\s*$", table, re.MULTILINE)
        if name not in {"total", "all"}
    }


def copy_of(folder, path):
    """A copy of a finished campaign, to change."""
    shutil.copytree(folder.path, path, symlinks=True)
    twin = object.__new__(type(folder))
    twin.path, twin.configuration = path, folder.configuration
    return twin
