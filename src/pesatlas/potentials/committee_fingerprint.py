"""Check that a committee is unchanged."""

from pesatlas.campaign.rounds import read_previous
from pesatlas.config.round import Round
from pesatlas.config.section import digest
from pesatlas.potentials.loading import identify


def committee_fingerprint(settings: Round) -> str:
    """Return a hash of the previous round, and of the committee's weights that are given by path.

    Weights given by name appear in the course of the first run, which would look like a change to the second.
    """
    _, manifest = read_previous(settings)
    members = [
        identify(options).weights_hash
        if getattr(options, "path", None) or getattr(options, "weights", None)
        else options.identity()
        for options in settings.committee
    ]
    return digest(manifest, members)
