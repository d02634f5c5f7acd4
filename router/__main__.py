"""`python -m router`: read the settings, run one gateway until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
import sys

import uvloop

from router.app import build_app
from router.open_files import raise_limit
from router.server import serve
from shared import config as settings
from shared import process
from shared.errors import WarmrouteError


def main() -> int:
    """Exit status: 0 stopped, 1 stopped before its callers had their answers, 2 the settings or the
    surroundings are wrong."""
    process.prepare()
    try:
        config = settings.read(settings.RouterConfig, os.environ)
        raise_limit(config.max_connections)
        uvloop.run(serve(build_app(config), config))
    except WarmrouteError as error:
        print(f"warmroute gateway: {error.message}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"warmroute gateway: cannot listen: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
