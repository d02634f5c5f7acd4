"""The footprint of a copy: the bytes it takes on a device. One sum for gateways and workers.

Before the first load the manifest says what a copy will take; after it the learned figure does.
Workers correct it by what they measure.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.manifest import FileEntry, Manifest
from shared.platforms import CODE_FILES, PLATFORMS, Sharing

WEIGHTS = "weights/"  # the folder of the files that hold weights, where a format keeps them apart


@dataclass(frozen=True)
class Footprint:
    """What a copy takes, in bytes: blobs that other copies can share (hash, size), and `own`."""

    blobs: frozenset[tuple[str, int]]
    own: int

    @property
    def total(self) -> int:
        """Bytes of the copy if no other copy shares its blobs."""
        return self.own + sum(size for _, size in self.blobs)

    def at_least(self, least: int) -> Footprint:
        """The footprint of a copy to which `least` bytes were promised: they count as its own, even
        if other copies share its blobs. A larger footprint stays as it is."""
        return self if self.total >= least else Footprint(frozenset(), least)

    def plus(self, more: int) -> Footprint:
        """The footprint of a copy that takes `more` bytes of its own."""
        return Footprint(self.blobs, self.own + more)


def sharing(manifest: Manifest) -> Sharing:
    """Which files of a version its copies share; nothing for a platform that is not known here."""
    platform = PLATFORMS.get(manifest.platform)
    return platform.sharing if platform else Sharing.NOTHING


def weight_files(manifest: Manifest) -> list[FileEntry]:
    """The files below `weights/`."""
    return [entry for entry in manifest.files if entry.name.startswith(WEIGHTS)]


def mapped_files(manifest: Manifest) -> list[FileEntry]:
    """The files that a copy on a CPU keeps mapped: its weights, wherever its format has them."""
    match sharing(manifest):
        case Sharing.WEIGHTS:
            return weight_files(manifest)
        case Sharing.WHOLE_FILE:
            return list(manifest.files)
        case Sharing.NOTHING:  # onnxruntime maps the files beside the model
            return [entry for entry in manifest.files if entry.name not in CODE_FILES]


def predict(manifest: Manifest, own: int | None = None) -> Footprint:
    """The footprint before a load. `own`: own bytes of a copy, as learned on this class of device.

    Before the first load of a program or an architecture its weights are the footprint; of every
    other format all files count (they hold the weights, in their headers or otherwise).
    """
    shared = sharing(manifest)
    if shared is Sharing.WEIGHTS:
        return Footprint(_blobs(weight_files(manifest)), own or 0)
    if own is None:
        return Footprint(frozenset(), manifest.total_bytes)
    blobs = _blobs(manifest.files) if shared is Sharing.WHOLE_FILE else frozenset()
    return Footprint(blobs, own)


def expected(manifest: Manifest, own: int | None, fraction: float, budget: int) -> Footprint:
    """`predict`, but at least `fraction` (a policy's) of a `budget` in bytes."""
    return predict(manifest, own).at_least(int(fraction * budget))


def _blobs(entries: list[FileEntry]) -> frozenset[tuple[str, int]]:
    return frozenset((entry.sha256, entry.size) for entry in entries)
