"""Collecting the dataset of results that lie as a campaign leaves them."""

from pesatlas.campaign.layout import Results
from pesatlas.dataset.collect import collect_dataset


def collect(campaign, results, labels, before=()):
    """Collect the dataset of a campaign with these tables of labels, and whatever else is in its layout."""
    collect_dataset(campaign, Results(results, len(labels), tuple(campaign.label.levels)).files, before)
