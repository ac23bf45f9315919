"""How many cards pass a filter, counted once per snapshot."""

from collections import OrderedDict
from collections.abc import Hashable

_LIMIT = 10_000


class Totals:
    """The newest counts by selection; a page is found without counting again."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._totals: OrderedDict[Hashable, int] = OrderedDict()

    def find(self, selection: Hashable) -> int | None:
        """The count, if it was made."""
        return self._totals.get(selection)

    def keep(self, selection: Hashable, total: int) -> None:
        """Keep a count; the oldest goes first."""
        self._totals[selection] = total
        if len(self._totals) > self._limit:
            self._totals.popitem(last=False)
