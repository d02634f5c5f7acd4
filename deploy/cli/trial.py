"""The trial before a version is published: the model runs here as it would on a worker.

The example is the input, if there is one. A model that no worker could serve is refused; oddities
become notes. A model whose rows may not share a batch is published without batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from shared.errors import LoadFailed, WarmrouteError
from shared.manifest import FileEntry, Manifest
from worker.device.cpu import CpuDevice
from worker.runtimes.base import LoadedModel, Trust, load
from worker.runtimes.failures import WrongOutput
from worker.trial.batches import INDEPENDENT, UNPROVED, UNSTEADY, try_batches
from worker.trial.compare import ROUNDED, distance
from worker.trial.rows import Arrays
from worker.trial.strangers import disturbed
from worker.trial.warming import check_outputs, warm_up

PROGRAM = "program.json"
RUNS = 3  # of one input
DICE = (
    "the model is not deterministic: two runs of one input differ; is dropout on? Call .eval() "
    "before the export"
)
UNTRIED = "the model did not run with generated inputs ({}): give real ones with --example"
UNBATCHED = "requests are not batched until one has shown which inputs work"
MIXES = (
    "--max-batch: requests may not share a batch of this model: {}. It is published without "
    "batches, and each request runs alone"
)


class Tried(NamedTuple):
    """Notes for the publisher; `mixes`: requests may not share a batch."""

    notes: list[str]
    mixes: bool = False


def try_model(manifest: Manifest, files: Mapping[str, Path]) -> Tried:
    """Run the trial. LoadFailed if the model cannot be served as `manifest` says. Blocks for
    as long as some calls of the model take."""
    named = msgspec.structs.replace(manifest, files=_entries(files))
    model = load(named, files, CpuDevice(), Trust(code=True))
    try:
        inputs, cold = warm_up(named, model)
        if inputs is None:
            notes = [UNTRIED.format(cold)]
            return Tried([*notes, UNBATCHED] if named.batching.max_size > 1 else notes)
        return _tried(named, model, inputs)
    finally:
        model.unload()


def _entries(files: Mapping[str, Path]) -> list[FileEntry]:
    """Files as a manifest names them. The hash of a program is looked at when it is opened; those
    of weights only tell them apart here, and are taken when they are sent."""
    return [
        FileEntry(
            name,
            hashlib.sha256(path.read_bytes() if name == PROGRAM else name.encode()).hexdigest(),
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
        return Tried([*notes, f"it is unknown whether requests may share a batch: {UNPROVED}"])
    if finding.startswith(UNSTEADY):
        return Tried([*(notes or [DICE]), "so requests are not batched"])
    if finding in ("", INDEPENDENT):
        slow = [] if finding else ["the model is slow: batches were tested with few rows"]
        finding = disturbed(model.run, manifest.inputs, manifest.outputs, inputs)
        notes += slow
    return Tried([*notes, MIXES.format(finding)], mixes=True) if finding else Tried(notes)


def _unsteady(manifest: Manifest, model: LoadedModel, inputs: Arrays) -> list[str]:
    """A note if two runs of one input differ; LoadFailed if an output does not fit the manifest."""
    answers = []
    for _ in range(RUNS):
        try:
            answers.append(model.run({name: array.copy() for name, array in inputs.items()}))
            wrong = check_outputs(answers[-1], manifest)
        except WrongOutput as error:
            wrong = error.message
        except WarmrouteError as error:
            return [f"the model ran once, and failed with the same input again: {error.message}"]
        if wrong:
            raise LoadFailed(f"the second run of one input gives another output: {wrong}")
    first, *others = answers
    steady = all(
        distance(first[spec.name], other[spec.name], spec.datatype, ROUNDED) <= 1
        for spec in manifest.outputs
        for other in others
    )
    return [] if steady else [DICE]
