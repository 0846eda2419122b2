"""Stage: the report of a campaign."""
