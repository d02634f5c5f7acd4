"""Warm-up and trial of a new copy: run once before it is announced, and see whether its rows may
share a batch, and whether that pays.

Kernels and caches warm up per program, so a variant of a program that this process has run already
(with inputs and outputs of the same names and shapes) is not run before it serves. What the first
variant showed holds for it: 60 variants of MiniLM attach in 4 ms each, and two calls of one would
take 30. The guard proves it with a real request as soon as the device is idle (`unproved`), since a
weight may be 0 in one variant and not in the next.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import structs

from shared.manifest import Batching, Manifest
from worker.runtimes.base import LoadedModel
from worker.trial.batches import INDEPENDENT, UNPROVED, Found, try_batches
from worker.trial.rows import Arrays
from worker.trial.warming import warm_up

PROGRAM_FILES = ("program.json",)
ALONE = Batching(max_size=1)


class Ready(NamedTuple):
    """How a copy is to be served. `finding` is about its rows, for the whole cell: INDEPENDENT, or
    why they may not share a batch, '' if nothing was found. `cold`: why it is not warmed up.
    `partly`: it was not tried itself, or not with all sizes of batches; the larger are not used."""

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


def _key(manifest: Manifest) -> str:
    """Another manifest over the same program may say wrong what it takes and gives."""
    program = program_key(manifest)
    return program and f"{program} {manifest.inputs} {manifest.outputs}"


class Warmup:
    """Remembers per program what its first copy showed. Used on the device thread only."""

    def __init__(self) -> None:
        self._ran: dict[str, Arrays] = {}  # inputs with which a copy of the program has run
        self._found: dict[str, Found] = {}

    def run(self, manifest: Manifest, model: LoadedModel, known: str = "") -> Ready:
        """Warm the copy up, and say how to serve it. `known`: a finding of an earlier load.
        LoadFailed if it cannot be served."""
        key, asked = _key(manifest), manifest.batching.max_size > 1
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
        found = before or try_batches(manifest, model, inputs, known)
        if key and found.pays is not None:
            self._found[key] = found
        limits = manifest.batching
        if not found.pays:
            return Ready(ALONE, known if before else found.finding)
        if known == INDEPENDENT:
            return Ready(limits, known)
        if found.finding != INDEPENDENT:
            limits = structs.replace(limits, max_size=min(found.most, limits.max_size))
        finding = "" if before else found.finding
        return Ready(limits, finding, partly=finding != INDEPENDENT)
