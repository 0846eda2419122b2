"""Stage: from sources of crystals to the cells that are explored."""
