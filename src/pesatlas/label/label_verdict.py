"""Verdict on a finished calculation from its own output; the dataset's limits are applied later."""

import json

from pesatlas.label.backend import Result
from pesatlas.tables.label_verdicts import ACCEPTED, QUARANTINED


def decide_verdict(result: Result) -> tuple[str, str]:
    """Return the verdict and, as JSON, the reasons for quarantine."""
    reasons = [] if result.converged else ["not converged"]
    reasons += result.quarantine_reasons
    return (QUARANTINED if reasons else ACCEPTED), json.dumps(reasons)
