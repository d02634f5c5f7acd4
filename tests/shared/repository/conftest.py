from __future__ import annotations

from tests.helpers.store_fixtures import (
    blob,
    direct,
    folder,
    moto,
    prefix,
    proxied,
    proxy,
    repository,
    weed,
)

__all__ = ["blob", "direct", "folder", "moto", "prefix", "proxied", "proxy", "repository", "weed"]
