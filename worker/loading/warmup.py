"""Warm-up and trial of a new copy: it runs once before it is announced, to find out whether its
rows may share a batch, and whether that pays.

Kernels and caches warm up per program, so a variant of a program that this process has run already
(with inputs and outputs of the same names and shapes) is not run before it serves. The findings of
the first variant hold for it: 60 variants of MiniLM attach in 4 ms each, and two calls of one would
take 30. The guard proves them with a real request as soon as the device is idle (`unproved`), since
a weight may be 0 in one variant and not in the next.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import structs

from shared.manifest import Batching, Manifest
from shared.platforms import PLATFORMS
from worker.runtimes.base import LoadedModel
from worker.trial.batches import INDEPENDENT, UNPROVED, Found, fill, try_batches
from worker.trial.rows import Arrays
from worker.trial.warming import warm_up

ALONE = Batching(max_size=1)


class Ready(NamedTuple):
    """How a copy is served. `finding` holds for the whole cell: INDEPENDENT, or why its rows may
    not share a batch, '' if that is not known. `cold`: why it is not warmed up, '' if it is.
    `partly`: it was not tried itself, or not with all sizes of batches; the larger ones are not
    used."""

    batching: Batching
    finding: str = ""
    cold: str = ""
    partly: bool = False

    @property
    def unproved(self) -> bool:
        """Whether a real request may show more: inputs that it accepts, or larger batches."""
        return bool(self.cold and not self.finding) or self.finding == UNPROVED or self.partly

    @property
    def unbatched(self) -> str:
        """Why its rows may not share a call, '' if they may or that is not known."""
        return "" if self.finding == INDEPENDENT else self.finding


def program_key(manifest: Manifest) -> str:
    """What variants of one program have in common: the digest of its file, or the architecture and
    its sizes. '' for a platform without either."""
    platform = PLATFORMS[manifest.platform]
    if platform.program_in_parameters:
        return repr(sorted(manifest.parameters.items()))
    digests = [entry.sha256 for entry in manifest.files if entry.name == platform.program_file]
    return digests[0] if digests else ""


def _key(manifest: Manifest) -> str:
    """The program with its inputs and outputs: another manifest may describe them wrongly."""
    program = program_key(manifest)
    return program and f"{program} {manifest.inputs} {manifest.outputs}"


class Warmup:
    """Remembers per program the findings of its first copy. `fills`: full batches are run too.
    Used on the device thread only."""

    def __init__(self, fills: bool = False) -> None:
        self._fills = fills
        self._ran: dict[str, Arrays] = {}  # inputs with which a copy of the program has run
        self._found: dict[str, Found] = {}
        self._most: dict[str, int] = {}  # rows, of programs that fail with more

    def inputs(self, manifest: Manifest) -> Arrays | None:
        """Inputs with which a copy of the same program has run here; None if none are known."""
        return self._ran.get(_key(manifest))

    def run(self, manifest: Manifest, model: LoadedModel, earlier: str = "") -> Ready:
        """Warm the copy up; how to serve it. `earlier`: the finding of an earlier load, '' if there
        is none. LoadFailed if it cannot be served."""
        key, batched = _key(manifest), manifest.batching.max_size > 1
        inputs = self._ran.get(key)
        if inputs is None:
            inputs, cold = warm_up(manifest, model)
            if inputs is None:
                # Without a warm-up no batch is tried: real requests show what it accepts, one by
                # one.
                return Ready(ALONE, earlier if batched else "", cold)
            if key:
                self._ran[key] = inputs
        if not batched:
            return Ready(manifest.batching)
        if earlier not in ("", INDEPENDENT):
            return Ready(ALONE, earlier)
        return self._try(key, manifest, model, inputs, earlier)

    def _try(
        self, key: str, manifest: Manifest, model: LoadedModel, inputs: Arrays, earlier: str
    ) -> Ready:
        before = self._found.get(key)
        found = before or try_batches(manifest, model, inputs, earlier)
        if key and found.pays is not None:
            self._found[key] = found
        limits = manifest.batching
        if not found.pays:
            return Ready(ALONE, earlier if before else found.finding)
        if INDEPENDENT not in (earlier, found.finding):
            limits = structs.replace(limits, max_size=min(found.most, limits.max_size))
        if self._fills:
            limits = self._filled(key, model, inputs, limits, known=before is not None)
        if earlier == INDEPENDENT:
            return Ready(limits, earlier)
        finding = "" if before else found.finding
        return Ready(limits, finding, partly=finding != INDEPENDENT)

    def _filled(
        self, key: str, model: LoadedModel, inputs: Arrays, limits: Batching, known: bool
    ) -> Batching:
        """The limits, without batches with which the program fails. `known`: they were tried."""
        most = self._most.get(key, limits.max_size)
        if not known and (most := fill(model, inputs, most)) < limits.max_size and key:
            self._most[key] = most
        return structs.replace(limits, max_size=min(most, limits.max_size))
