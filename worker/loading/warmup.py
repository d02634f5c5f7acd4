"""Warm-up and trial of a new copy: run once before it is announced, and see whether its rows may
share a batch, and whether that pays.

Kernels and caches warm up per program, so a variant of a program that this process has run already
is not run to warm it; whether batches pay is what the first variant measured. Whether rows are
independent is asked of each digest (a weight may be 0 in one variant and not in the next): of the
first variant by the whole trial, of the others by a few calls, and never again where it is known.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import structs

from shared.manifest import Batching, Manifest
from worker.runtimes.base import LoadedModel
from worker.trial.batches import INDEPENDENT, UNPROVED, Found, still_independent, try_batches
from worker.trial.rows import Arrays
from worker.trial.warming import warm_up

PROGRAM_FILES = ("program.json",)
ALONE = Batching(max_size=1)
MOST_PASSED = 10_000


class Ready(NamedTuple):
    """How a copy is to be served. `finding` is about its rows, for the whole cell: INDEPENDENT, or
    why they may not share a batch, '' if nothing was found. `cold`: why it is not warmed up.
    `partly`: there was no time to try all sizes of batches; the larger ones are not used."""

    batching: Batching
    finding: str = ""
    cold: str = ""
    partly: bool = False

    @property
    def unproved(self) -> bool:
        """Whether a real request may show more: rows that it takes, or larger batches."""
        return bool(self.cold and not self.finding) or self.finding == UNPROVED or self.partly

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
        self._found: dict[str, Found] = {}
        self._passed: set[frozenset[str]] = set()  # files of variants that were checked here

    def run(self, manifest: Manifest, model: LoadedModel, known: str = "") -> Ready:
        """Warm the copy up, and say how to serve it. `known`: a finding of an earlier load.
        LoadFailed if it cannot be served."""
        key, asked = program_key(manifest), manifest.batching.max_size > 1
        inputs = self._ran.get(key)
        if inputs is None:
            inputs, cold = warm_up(manifest, model)
            if inputs is None:
                # Batches are not believed: real requests show what it takes, one by one.
                return Ready(ALONE, known if asked else "", cold)
            if key:
                self._ran[key] = inputs
        if not asked:
            return Ready(manifest.batching)
        if known not in ("", INDEPENDENT):
            return Ready(ALONE, known)
        return self._try(key, manifest, model, inputs, known)

    def _try(
        self, key: str, manifest: Manifest, model: LoadedModel, inputs: Arrays, known: str
    ) -> Ready:
        before = self._found.get(key)
        if before is None or not self._holds_for(before, manifest, model, inputs, known):
            found = try_batches(manifest, model, inputs, known)
            if key and found.pays is not None:
                self._found[key] = found
        else:
            found = before
        if known == INDEPENDENT and found.pays:
            found = found._replace(finding=known, most=manifest.batching.max_size)
        if not found.pays:
            return Ready(ALONE, found.finding)
        complete = found.finding == INDEPENDENT
        most = manifest.batching.max_size if complete else found.most
        limits = structs.replace(manifest.batching, max_size=min(most, manifest.batching.max_size))
        return Ready(limits, found.finding, partly=not complete)

    def _holds_for(
        self, before: Found, manifest: Manifest, model: LoadedModel, inputs: Arrays, known: str
    ) -> bool:
        """Whether what the program's first copy showed is so for this one."""
        content = frozenset(entry.sha256 for entry in manifest.files)
        if not before.pays or known or content in self._passed:
            return True
        if not still_independent(manifest, model, inputs):
            return False
        if len(self._passed) >= MOST_PASSED:
            self._passed.clear()
        self._passed.add(content)
        return True
