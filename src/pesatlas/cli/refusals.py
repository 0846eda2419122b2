"""Submissions that Slurm rejected: recorded while Snakemake submits, read by `pesatlas run` at its end."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

REFUSALS = Path("logs/refused.jsonl")
"""Their file below the folder of a campaign: a line each."""

WAITS_S = (10.0, 60.0, 300.0)
"""Times after which the same request is made again."""

_REMEDIES = (
    (r"account", "Set slurm_account in the profile; `sacctmgr show associations user=$USER` lists yours"),
    (r"partition", "Set slurm_partition in the profile; `sinfo` lists those that there are"),
    (
        r"time limit",
        (
            "Lower runtime in the profile, also of rules that it does not name yet; `sinfo -o '%P %l'` lists "
            "the limits"
        ),
    ),
    (
        r"memory|node configuration|CPU count|processors|cpus",
        (
            "Lower mem_mb or the cores of that rule to what a node of the partition has: `sinfo -o '%P %c %m "
            "%G'`"
        ),
    ),
    (
        r"qos|limit|policy",
        "A limit of your account or site: lower jobs in the profile, or wait until some have ended",
    ),
    (
        r"contact|connect|timed? out|communication|temporarily",
        "Slurm's controller did not answer: try again when `squeue` does",
    ),
)


@dataclass(frozen=True)
class Refusal:
    """One submission that was refused.

    Attributes
    ----------
    job : its rule and batch
    said : why, in the words of sbatch
    again_s : after which time it is tried again, s; None if it is not
    at : seconds since 1970
    """

    job: str
    said: str
    again_s: float | None
    at: float

    @property
    def remedy(self) -> str:
        """Remedy."""
        for pattern, remedy in _REMEDIES:
            if re.search(pattern, self.said, re.IGNORECASE):
                return remedy
        return "Correct in the profile what the message names"

    @property
    def text(self) -> str:
        """The line that is shown when it happens."""
        then = (
            "It is not tried any more."
            if self.again_s is None
            else f"The same request is made again in {self.again_s:.0f} s."
        )
        return f"Slurm refused {self.job}: {self.said}. {then}"


def note(refusal: Refusal, path: Path = REFUSALS) -> None:
    """Add a line to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(refusal)) + "\n")


def given_up(folder: Path, since: float) -> list[Refusal]:
    """Return submissions that were finally rejected after ``since``, by this machine's clock."""
    return [found for found in _read(folder / REFUSALS) if found.again_s is None and found.at >= since]


def _read(path: Path) -> Iterator[Refusal]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield Refusal(**json.loads(line))
        except (ValueError, TypeError):
            continue  # torn when the machine went down


def words_of_sbatch(message: str) -> str:
    """Return the reason of a rejected submission from the executor's message."""
    if found := re.search(r"The error message was '(.*?)'\.\n", message, re.DOTALL):
        message = found[1]
    message = re.sub(r"^.*?failed with exception: ", "", message.strip(), flags=re.DOTALL)
    lines = [re.sub(r"^sbatch: (error: )?", "", line.strip()).rstrip(".:") for line in message.splitlines()]
    return "; ".join(dict.fromkeys(filter(None, lines)))


def refused(job: str, message: str, again_s: float | None) -> Refusal:
    """Return the rejected submission in the executor's message."""
    return Refusal(job, words_of_sbatch(message), again_s, time.time())
