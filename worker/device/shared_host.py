"""This worker among the workers of its host: what it claims, and what its part is now."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from shared.config import WorkerConfig
from worker.device.base import Device
from worker.device.budget import DEMOTED_SHARE, HOST_SHARE
from worker.device.cgroup import ROOT, memory_levels
from worker.device.cpu import STATM, anonymous_bytes
from worker.device.host_registry import Claims, HostRegistry, Peer
from worker.device.host_share import Host

log = logging.getLogger(__name__)

DEFAULT_FOLDER = "/dev/shm"
DISK_BYTES = 20 << 30  # of the weight cache, where the disk has them


class SharedHost:
    """The parts are computed anew at each call: other workers come and go. All calls block for a
    moment; any thread may make them."""

    def __init__(
        self, config: WorkerConfig, device: Device, cache: Path, root: Path = ROOT
    ) -> None:
        """`cache`: the folder of the weight cache, which exists. `root`: as in `memory_levels`."""
        self._root = root
        self._cache = cache
        self._disk_fixed = config.disk_cache_bytes
        self._claims = self._claim(config, device)
        folder = DEFAULT_FOLDER if config.shared_memory == "off" else config.shared_memory
        self._registry = _join(Path(folder), self._claims)

    def memory(self) -> int:
        """Bytes of host memory for models, or for weights that left a GPU."""
        return self._host().memory_part(memory_levels(self._root))

    def disk(self, used: int) -> int:
        """Bytes for the weight cache, of which `used` are used."""
        if self._disk_fixed:
            return self._disk_fixed
        disk = os.statvfs(self._cache)
        free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        return self._host().disk_part(DISK_BYTES, total, free, used)

    def misfit(self) -> str:
        """Why the explicit budgets of the workers here cannot fit; '' if they do."""
        disk = os.statvfs(self._cache)
        return self._host().misfit(memory_levels(self._root), disk.f_blocks * disk.f_frsize)

    def leave(self) -> None:
        """Leave the others this worker's part; the death of the process does it too."""
        if self._registry is not None:
            self._registry.leave()

    def _host(self) -> Host:
        peers: list[Peer] = [] if self._registry is None else self._registry.peers()
        return Host(os.geteuid(), self._claims, peers)

    def _claim(self, config: WorkerConfig, device: Device) -> Claims:
        on_gpu, folder = device.kind == "cuda", self._cache.stat()
        automatic = not (config.host_memory_bytes if on_gpu else config.memory_bytes)
        wish = DEMOTED_SHARE if on_gpu else HOST_SHARE
        return Claims(
            levels=[level.identity for level in memory_levels(self._root)],
            wish=wish if automatic else 0.0,
            fixed=config.host_memory_bytes + (0 if on_gpu else config.memory_bytes),
            overhead=anonymous_bytes(STATM),
            disk=str(folder.st_dev),
            root=f"{folder.st_dev}:{folder.st_ino}",
            disk_fixed=config.disk_cache_bytes,
        )


def _join(folder: Path, claims: Claims) -> HostRegistry | None:
    try:
        registry = HostRegistry(folder)
        registry.join(claims)
    except OSError as error:
        log.warning(
            "%s: other workers of this host cannot be seen, so this one counts as the only one; "
            "set WARMROUTE_MEMORY_BYTES or WARMROUTE_HOST_MEMORY_BYTES if it is not", error,
        )  # fmt: skip
        return None
    return registry
