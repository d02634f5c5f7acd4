"""What stops a measurement."""

from __future__ import annotations


class BenchError(Exception):
    """A figure could not be measured: a wrong answer, a failed request. The message says which."""
