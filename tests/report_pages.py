"""Reports of results that lie as a campaign leaves them, and contents of their pages.

Words, queries, data.
"""

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import Results, below
from pesatlas.report.build import build_report


def built(results, **added):
    """Build the report of a campaign's results; ``added``: files that not every campaign has."""
    manifest = read_campaign_manifest(results)
    files = Results(results, manifest["label_batches"], tuple(manifest["levels"])).files
    report, pictures = below(results, "report"), below(results, "figure", figure="hours").parent
    build_report(files | {"parity": [below(results, "parity")]} | added, report, pictures)
    return SimpleNamespace(results=results, path=report, pictures=pictures)


class Text(HTMLParser):
    """The words of a page, without programs."""

    def __init__(self, page):
        super().__init__()
        self.words, self.queries, self._skip, self._pre = [], [], False, False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self._skip |= tag in {"script", "style"}
        self._pre |= tag == "pre"

    def handle_endtag(self, tag):
        self._skip &= tag not in {"script", "style"}
        self._pre &= tag != "pre"

    def handle_data(self, data):
        if self._pre and data.startswith("pesatlas query"):
            self.queries.append(data)
        if not self._skip:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(report):
    return Text(report.path.read_text(encoding="utf-8"))


def data_of(report):
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', report.path.read_text(), re.DOTALL
    )
    return json.loads(found[1])
