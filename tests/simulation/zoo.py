"""The models of the simulation, and the store, cache and device that bring them up.

Every model answers `2 x + its number`, so each answer shows whose question and which model it was.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shared import manifest as manifests
from shared.errors import BlobMissing, Forbidden, LoadFailed, ModelFailed, StoreUnavailable
from shared.manifest import FileEntry, Manifest
from shared.repository import Listed
from shared.repository.base import Note, Notes
from tests.simulation.kinds import BAD, BUDGET, KINDS, POISON, Kind, kind_of
from tests.simulation.lane import Crashed
from tests.simulation.loop import PROCESS, SimLoop
from tests.simulation.sickness import CRASHES, ERRS, FORBIDDEN, Sickness


@dataclass
class Store:
    """A repository in memory. `down_until` is a moment of virtual time."""

    loop: SimLoop
    sickness: Sickness
    url: str = "file:///models"
    down_until: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    newer: set[str] = field(default_factory=set)  # models with a second version

    @property
    def notes(self) -> Notes:
        """A repository without an index, in which gateways may not write: each lists it."""
        return self

    def read(self, name: str, known: str = "") -> Note:
        self._asked()
        raise BlobMissing(f"no such object: {name}")

    def put(self, name: str, raw: bytes) -> None:
        self._asked()
        raise Forbidden("the store refuses writes")

    def list(self, start: str) -> list[str]:
        self._asked()
        return []

    def delete(self, name: str) -> None:
        self._asked()

    def check(self) -> None:
        """Always there at the start."""

    def list_all(self) -> list[Listed]:
        self._asked()
        return [Listed(name, tuple(self._versions(name))) for name in sorted(KINDS)]

    def list_models(self) -> list[str]:
        return sorted(KINDS)

    def list_versions(self, model: str) -> list[int]:
        self._asked()
        return self._versions(model) if model in KINDS else []

    def read_manifest(self, model: str, version: int) -> bytes:
        self._asked()
        if model not in KINDS or version not in self._versions(model):
            raise BlobMissing("no such manifest")
        return kind_of(model, version).manifest().encode()

    def _versions(self, model: str) -> list[int]:
        return [1, 2] if model in self.newer else [1]

    def _asked(self) -> None:
        if self.loop.now < self.down_until:
            self.faults["store down"] += 1
            raise StoreUnavailable("the store does not answer")
        if self.sickness.is_here(FORBIDDEN):
            raise Forbidden("the store refused the credentials")


class Cache:
    """Stands for the blob cache: fetching takes a while, or fails with the store."""

    def __init__(self, store: Store, dice: random.Random) -> None:
        self._store = store
        self._dice = dice
        self.pinned = 0
        self.root = Path()  # of the disk that self-tests look at
        self.manifests = Path("/dev/null/manifests")  # a disk that keeps nothing

    async def ensure(self, repository: Any, files: Sequence[FileEntry]) -> dict[str, Path]:
        """Every file, after some time."""
        import asyncio

        await asyncio.sleep(self._dice.expovariate(8))
        self._store._asked()
        self.pinned += len(files)
        return {entry.name: Path("/nowhere") for entry in files}

    async def missing(self, files: Sequence[FileEntry]) -> list[FileEntry]:
        """None, or all: nobody knows what the others of a host have fetched."""
        return list(files) if self._dice.random() < 0.5 else []

    def release(self, files: Sequence[FileEntry]) -> None:
        self.pinned -= len(files)

    async def close(self) -> None:
        assert self.pinned == 0, "files are still pinned"


class Device:
    """A device without memory of its own."""

    name = kind = device_class = "cpu"
    uuid = ""
    torch_device = shared = hosted = None

    def memory_total(self) -> int:
        return 2 * BUDGET

    def memory_used(self) -> int:
        return 0

    allocated = reserved = others = overhead = live = slack = memory_used

    def computing(self) -> Any:
        return nullcontext()

    def synchronise(self) -> None:
        """Nothing runs beside."""

    def trim(self) -> None:
        """Nothing is held back."""

    def relieve(self) -> int:
        """Nor here."""
        return 0


class Model:
    """A loaded copy. `watch` is told of every load, run and unload."""

    shared: Mapping[str, int] = {}

    def __init__(
        self, kind: Kind, ref: str, dice: random.Random, watch: Watch, sickness: Sickness
    ) -> None:
        self.kind = kind
        self.ref = ref
        self.bytes_resident = kind.bytes
        self.freed = False
        self._dice = dice
        self._watch = watch
        self._sickness = sickness
        self._warm = False

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer; or die, or refuse, as the values say."""
        process = PROCESS.get()
        assert process is not None
        self._watch("run", self)
        loop = process.loop
        loop.work_s = (loop.work_s or 0.0) + self._duration()
        values = inputs["x"][:, 0]
        warming, self._warm = not self._warm, True
        if self._sickness.is_here(ERRS):
            raise ModelFailed("the device does not work")
        if self._sickness.is_here(CRASHES):
            process.crash()
            raise Crashed
        if POISON in values or (self.kind.wrong == "runs" and not warming and values.any()):
            process.crash()
            raise Crashed
        if BAD in values:
            raise ModelFailed("it does not like this value")
        return {"y": (2 * inputs["x"] + self.kind.number).astype("<f4")}

    def _duration(self) -> float:
        if self._dice.random() < 0.03:
            return self._dice.uniform(0.5, 5.0)
        return self._dice.expovariate(200)

    def unload(self) -> None:
        """Free it."""
        self._watch("unload", self)
        self.freed = True


Watch = Callable[[str, Model], None]


def load(manifest: Manifest, dice: random.Random, watch: Watch, sickness: Sickness) -> Model:
    """Bring a model up; takes a while."""
    process = PROCESS.get()
    assert process is not None
    kind = kind_of(manifest.name, manifest.version)
    ref = str(manifests.ref_of(manifest, manifest.encode()))
    process.models.add(ref)
    process.loop.work_s = dice.uniform(1, 5) if dice.random() < 0.2 else dice.expovariate(5)
    if kind.wrong == "load":
        raise LoadFailed("it is broken")
    model = Model(kind, ref, dice, watch, sickness)
    watch("load", model)
    return model
