"""Where the weight cache lies: in a folder of this user's own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from shared.config import WorkerConfig
from shared.errors import ConfigError
from worker.weight_cache.files import own_folder

log = logging.getLogger(__name__)

NAME = "warmroute"
SHARED = Path("/tmp")


def open_root(config: WorkerConfig, shared: Path = SHARED) -> Path:
    """The folder of the settings, made if need be; by default the first of these that can be made:
    in the user's cache folder, in his home, or one with his number in the `shared` place.
    ConfigError if it is not this user's own."""
    if config.disk_cache:
        return own_folder(Path(config.disk_cache))
    *candidates, last = _candidates(config, shared)
    for folder in candidates:
        try:
            return own_folder(folder)
        except (OSError, ConfigError) as error:  # a home that is not writable, or not ours
            log.info("the weight cache does not lie in %s: %s", folder, error)
    return own_folder(last)


def _candidates(config: WorkerConfig, shared: Path) -> Iterator[Path]:
    if config.cache_home.startswith("/"):
        yield Path(config.cache_home) / NAME
    home = _home()
    if home.is_dir() and home != Path("/"):
        yield home / ".cache" / NAME
    yield shared / f"{NAME}-{os.geteuid()}-cache"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a container's user without a name
        return Path("/")
