"""The trial before a version is published: the model is loaded and run as a worker does.

It runs with the example if there is one. A model that no worker could serve is refused; what is
unusual is noted. A model whose rows may not share a batch is published without batches: it is
served one request at a time, and correctly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from shared.errors import LoadFailed, WarmrouteError
from shared.manifest import FileEntry, Manifest
from shared.platforms import PLATFORMS
from worker.device.cpu import CpuDevice
from worker.runtimes.base import LoadedModel, Trust, load
from worker.runtimes.failures import WrongOutput
from worker.trial.batches import INDEPENDENT, UNPROVED, UNSTEADY, try_batches
from worker.trial.compare import ROUNDED, distance
from worker.trial.outliers import disturbed
from worker.trial.rows import Arrays
from worker.trial.warming import check_outputs, warm_up

RUNS = 3  # of one input
NOT_DETERMINISTIC = (
    "the model is not deterministic: two runs of one input differ; if dropout is on, call .eval() "
    "before the export"
)
UNTRIED = "the model failed with generated inputs ({}): give real ones with --example"
UNBATCHED = "it is served unbatched until a request shows which inputs it accepts"
MIXES = (
    "--max-batch: requests may not share a batch of this model: {}. So it is published without "
    "batches, and each request runs alone"
)


class Tried(NamedTuple):
    """Notes for the publisher; `mixes`: requests may not share a batch."""

    notes: list[str]
    mixes: bool = False


def try_model(manifest: Manifest, files: Mapping[str, Path]) -> Tried:
    """Load the model and run it; the findings. LoadFailed if it cannot be served as `manifest`
    says. Blocks for several calls of the model."""
    named = msgspec.structs.replace(manifest, files=_entries(manifest.platform, files))
    model = load(named, files, CpuDevice(), Trust(code=True))
    try:
        inputs, cold = warm_up(named, model)
        if inputs is None:
            notes = [UNTRIED.format(cold)]
            return Tried([*notes, UNBATCHED] if named.batching.max_size > 1 else notes)
        return _tried(named, model, inputs)
    finally:
        model.unload()


def _entries(platform: str, files: Mapping[str, Path]) -> list[FileEntry]:
    """Files as a manifest names them. The loader checks the hash of a program; those of weights are
    computed when they are sent, and here their names stand in for them."""
    program = PLATFORMS[platform].program_file
    return [
        FileEntry(
            name,
            hashlib.sha256(path.read_bytes() if name == program else name.encode()).hexdigest(),
            path.stat().st_size,
        )
        for name, path in sorted(files.items())
    ]


def _tried(manifest: Manifest, model: LoadedModel, inputs: Arrays) -> Tried:
    notes = _unsteady(manifest, model, inputs)
    if manifest.batching.max_size == 1:
        return Tried(notes)
    finding = try_batches(manifest, model, inputs, patient=True).finding
    if finding == UNPROVED:
        return Tried([*notes, f"it is not known whether requests may share a batch: {UNPROVED}"])
    if finding.startswith(UNSTEADY):
        return Tried([*(notes or [NOT_DETERMINISTIC]), "it is served unbatched"])
    if finding in ("", INDEPENDENT):
        slow = [] if finding else ["the model is slow, so batches were tried with few rows"]
        finding = disturbed(model.run, manifest.inputs, manifest.outputs, inputs)
        notes += slow
    return Tried([*notes, MIXES.format(finding)], mixes=True) if finding else Tried(notes)


def _unsteady(manifest: Manifest, model: LoadedModel, inputs: Arrays) -> list[str]:
    """A note if runs with one input differ; LoadFailed if a result does not fit the manifest."""
    answers = []
    for _ in range(RUNS):
        try:
            answers.append(model.run({name: array.copy() for name, array in inputs.items()}))
            wrong = check_outputs(answers[-1], manifest)
        except WrongOutput as error:
            wrong = error.message
        except WarmrouteError as error:
            return [
                f"the model ran once, but fails when it runs with the same input again: "
                f"{error.message}"
            ]
        if wrong:
            raise LoadFailed(f"the second run with the same input returns something else: {wrong}")
    first, *others = answers
    steady = all(
        distance(first[spec.name], other[spec.name], spec.datatype, ROUNDED) <= 1
        for spec in manifest.outputs
        for other in others
    )
    return [] if steady else [NOT_DETERMINISTIC]
