"""Whether a finished calculation is what was asked for, as far as it can tell itself; the dataset's rules speak later."""

import json

from pesatlas.label.backend import Result

ACCEPTED, QUARANTINED = "accepted", "quarantined"


def judge(result: Result) -> tuple[str, str]:
    """Return the verdict and, as JSON, what speaks against the label."""
    spoke = [] if result.converged else ["not converged"]
    spoke += result.quarantine_reasons
    return (QUARANTINED if spoke else ACCEPTED), json.dumps(spoke)
