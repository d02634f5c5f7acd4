"""`python -m deploy.cli`, the same as `warmroute`."""

import sys

from deploy.cli.main import main

sys.exit(main())
