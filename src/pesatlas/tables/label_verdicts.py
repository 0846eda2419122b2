"""Verdicts on labels, as the column ``verdict`` has them."""

ACCEPTED, FLAGGED, QUARANTINED = "accepted", "flagged", "quarantined"
VERDICTS = (ACCEPTED, FLAGGED, QUARANTINED)
