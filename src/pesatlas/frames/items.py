"""Entries of a file one by one, each with its name, and its frame or the reason for rejection."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

from pesatlas.frames.frame import Frame, UnusableFrame
from pesatlas.frames.labels import check_finite
from pesatlas.tables.schemas import FailureReason


class Item(NamedTuple):
    """An entry of a file.

    Attributes
    ----------
    about : what it has beside its geometry, by key
    where : where in its file it stands, e.g. ``lines 5-10``
    read : returns its frame, or raises
    """

    about: Mapping[str, Any]
    where: str
    read: Callable[[], Frame]

    def frame(self) -> Frame:
        """Return its frame.

        Raises
        ------
        UnusableFrame
            If it has none, whatever went wrong, or a label that is not finite.
        """
        try:
            frame = self.read()
            check_finite(frame, self.about)
        except UnusableFrame as why:
            raise UnusableFrame(why.reason, f"{self.where}: {why.detail}") from None
        except Exception as error:
            # whatever a foreign entry raises, it is the failure of that entry
            detail = f"{self.where}: {type(error).__name__}: {error}"
            raise UnusableFrame(FailureReason.UNREADABLE, detail) from error
        return frame


def broken(where: str, why: UnusableFrame) -> Item:
    """Return an entry that has no frame."""

    def read() -> Frame:
        raise why

    return Item({}, where, read)


def numbered(items: Iterator[Item], stem: str) -> Iterator[tuple[str, Item]]:
    """Yield every entry with the name that it has if it carries none.

    That of the file, numbered from 0 if there are many.

    When the file cannot be read on, what came before is kept, and a broken entry comes last.
    """
    items = _until_broken(items)
    head = list(islice(items, 2))
    for i, item in enumerate(chain(head, items)):
        yield f"{stem}-{i:05d}" if len(head) > 1 else stem, item


def _until_broken(items: Iterator[Item]) -> Iterator[Item]:
    done = 0
    try:
        for item in items:
            yield item
            done += 1
    except Exception as error:  # noqa: BLE001 - parsers of foreign formats raise anything
        why = UnusableFrame(FailureReason.UNREADABLE, f"{type(error).__name__}: {error}")
        yield broken(f"entry {done + 1} and what follows it", why)
