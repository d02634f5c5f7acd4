"""Which cell a model belongs to, and which one gave out a request id. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from shared.cell_list import TAG, CellAddress, tag_of
from shared.rendezvous import home, order

MAX_NAMES = 1 << 16  # whose cells are kept: with 100 cells it takes 38 us to find one


class CellMap:
    """The cells of a gateway by name. `home`: the cell of a model by its name, where its requests
    go; with one cell always that, without a look-up."""

    def __init__(self, cells: Sequence[CellAddress]) -> None:
        self.names = [cell.name for cell in cells]
        self._weights = {cell.name: cell.weight for cell in cells}
        self._tags = {cell.name: tag_of(cell.name) for cell in cells}
        only = self.names[0] if len(self.names) == 1 else ""
        self.home: Callable[[str], str] = (
            (lambda name: only) if only else lru_cache(MAX_NAMES)(home(self._weights))
        )

    def owners(self, name: str) -> list[str]:
        """The cell of a model, then those in which it may have been before: the next in order,
        where it was if the first is new, and those whose weight is 0 by now."""
        cells = order(name, self._weights)
        drained = [cell for cell in cells[2:] if not self._weights[cell]]
        return [*cells[:2], *drained]

    def of_id(self, request_id: str) -> list[str]:
        """The cells that may have given out an id: one, rarely more. None: a cell that is not in
        the list any more, or a release before ids named their cells."""
        start = request_id[:TAG].lower()
        return [name for name, tag in self._tags.items() if tag == start]
