"""A plugin for pytest: `tests` is this checkout's folder.

It is no package of its own, so any installed package of that name would hide it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

tests = ModuleType("tests")
tests.__path__ = [str(Path(__file__).resolve().parents[3] / "tests")]
sys.modules["tests"] = tests
