"""`python -m deploy.up`: what `make up` runs."""

from __future__ import annotations

import os
import sys

from deploy.up.settings import BadSetting, read_settings
from deploy.up.stack import CannotStart, run_stack


def main() -> int:
    """Exit status 0: every answer was right, or it was stopped; 1: not so; 2: a wrong setting."""
    try:
        return run_stack(read_settings(os.environ))
    except BadSetting as error:
        print(f"warmroute: {error}", file=sys.stderr)
        return 2
    except CannotStart as error:
        print(f"warmroute: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
