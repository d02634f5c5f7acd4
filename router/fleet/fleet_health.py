"""The readiness of a gateway over all of its cells: it is ready while one of them is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

from router.fleet.health import Health
from shared.service import Supervisor

FIELDS = ("ready", "workers", "error")  # that are shown of each cell


class FleetHealth:
    """The health of each cell by name, and the loops that all cells share. With one cell its
    document is the gateway's."""

    def __init__(self, cells: Mapping[str, Health], loops: Supervisor) -> None:
        self._cells = dict(cells)
        self._loops = loops

    def note_probe(self, address: str, program: str) -> None:
        """A readiness check has come from a program at this address."""
        next(iter(self._cells.values())).note_probe(address, program)

    def stop(self, longest_s: float) -> float:
        """Not ready from now on; the seconds for which this gateway should go on serving."""
        return max([health.stop(longest_s) for health in self._cells.values()])

    async def document(self) -> dict[str, Any]:
        """The body of GET /v2/health/ready. With several cells: `cells` says of each whether it is
        ready, and why not; `workers` and `states` are those of the cells that answer."""
        documents = await asyncio.gather(*(health.document() for health in self._cells.values()))
        one = len(documents) == 1
        found = documents[0] if one else _merged(dict(zip(self._cells, documents, strict=True)))
        failing = self._loops.failing
        if failing:
            found |= {"ready": False, "error": "; ".join([*failing, *_errors(found)])}
        return found


def _errors(document: Mapping[str, Any]) -> list[str]:
    return [document["error"]] if "error" in document else []


def _merged(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One document of those of all cells."""
    states: Counter[str] = Counter()
    for document in cells.values():
        states.update(document.get("states", {}))
    ready = any(document["ready"] for document in cells.values())
    shown: dict[str, Any] = {
        "live": True,
        "ready": ready,
        "workers": sum(document.get("workers", 0) for document in cells.values()),
        **({"states": dict(states)} if states else {}),
        "cells": {
            name: {field: document[field] for field in FIELDS if field in document}
            for name, document in cells.items()
        },
    }
    if not ready:
        reasons = (f"cell {name}: {document['error']}" for name, document in cells.items())
        shown["error"] = "; ".join(reasons)
    return shown
