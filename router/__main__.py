"""`python -m router`: read the settings, run one gateway until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
import sys

from shared import command_line, failpoints, process
from shared import config as settings
from shared.errors import WarmrouteError

DOES = "Runs one gateway until SIGTERM or Ctrl-C: HTTP and stream doors, placement, housekeeping."


def main() -> int:
    """Exit status: 0 stopped, 1 stopped before its callers had answers, 2 it could not start."""
    # Here, as the processes that read large JSON import this module too, and need none of it.
    import uvloop

    from router.app import build_app
    from router.rest.server import raise_limit, serve

    command_line.parse("router", DOES, command_line.settings_of(settings.RouterConfig))
    process.prepare()
    try:
        config = settings.read(settings.RouterConfig, os.environ)
        settings.check_names(os.environ, config)
        failpoints.arm(os.environ)
        raise_limit(config.max_connections)
        uvloop.run(serve(build_app(config), config))
    except WarmrouteError as error:
        print(f"warmroute gateway: {error.message}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{config.host}, port {config.port}"
        why = error.strerror or error
        print(f"warmroute gateway: cannot listen on {where}: {why}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
