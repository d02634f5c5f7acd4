"""Warm-up and trial of a new copy: run once before it is announced, and see whether its rows may
share a batch, and whether that pays.

Kernels and caches warm up per program, so a variant of a program that this process has run already
is not run to warm it; whether batches pay is what the first variant measured. Whether rows are
independent is asked of each digest (a weight may be 0 in one variant and not in the next): of the
first variant by the whole trial, of the others by a few calls, and never again where it is known.
"""

from __future__ import annotations

from typing import NamedTuple

from shared.manifest import Batching, Manifest
from worker.runtimes.base import LoadedModel
from worker.trial.batches import INDEPENDENT, UNPROVED, still_independent, try_batches
from worker.trial.rows import Arrays
from worker.trial.warming import warm_up

PROGRAM_FILES = ("program.json",)


class Ready(NamedTuple):
    """How a copy is to be served. `finding` is about its rows, for the whole cell: INDEPENDENT, or
    why they may not share a batch, '' if nothing was found. `cold`: why it is not warmed up."""

    batching: Batching
    finding: str = ""
    cold: str = ""

    @property
    def unproved(self) -> bool:
        """Whether no rows were known that it takes: a real request may show some."""
        return bool(self.cold and not self.finding) or self.finding == UNPROVED

    @property
    def unbatched(self) -> str:
        """Why its rows may not share a call, '' if they may or nothing is known."""
        return "" if self.finding == INDEPENDENT else self.finding


def program_key(manifest: Manifest) -> str:
    """What variants share: the program's digest, or the architecture and its settings."""
    for entry in manifest.files:
        if entry.name in PROGRAM_FILES:
            return entry.sha256
    if manifest.platform == "pytorch_architecture":
        return repr(sorted(manifest.parameters.items()))
    return ""


class Warmup:
    """Remembers per program what its first copy showed. Used on the device thread only."""

    def __init__(self) -> None:
        self._ran: dict[str, Arrays] = {}  # inputs with which a copy of the program has run
        self._pays: dict[str, bool] = {}

    def run(self, manifest: Manifest, model: LoadedModel, known: str = "") -> Ready:
        """Warm the copy up, and say how to serve it. `known`: a finding of an earlier load.
        LoadFailed if it cannot be served."""
        key, asked = program_key(manifest), manifest.batching.max_size > 1
        inputs = self._ran.get(key)
        if inputs is None:
            inputs, cold = warm_up(manifest, model)
            if inputs is None:
                # Batches are not believed: real requests show what it takes, one by one.
                return Ready(Batching(max_size=1), known if asked else "", cold)
            if key:
                self._ran[key] = inputs
        if not asked:
            return Ready(manifest.batching)
        if known not in ("", INDEPENDENT):
            return Ready(Batching(max_size=1), known)
        return self._try(key, manifest, model, inputs, known)

    def _try(
        self, key: str, manifest: Manifest, model: LoadedModel, inputs: Arrays, known: str
    ) -> Ready:
        pays, finding = self._pays.get(key), known
        if pays and not known and still_independent(manifest, model, inputs):
            finding = INDEPENDENT
        elif pays is None or (pays and not known):
            finding, pays = try_batches(manifest, model, inputs, known)
            if key and pays is not None:
                self._pays[key] = pays
        batched = bool(pays) and finding == INDEPENDENT
        return Ready(manifest.batching if batched else Batching(max_size=1), finding)
