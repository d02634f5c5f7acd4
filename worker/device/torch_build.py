"""What the installed torch was built for, without an import of it: that takes seconds."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def has_cuda() -> bool:
    """Whether torch is installed and was built with CUDA."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return False
    return _cuda_version(Path(found.origin).with_name("version.py")) is not None


def _cuda_version(path: Path) -> str | None:
    """The constant `cuda` of torch's own version file."""
    spec = importlib.util.spec_from_file_location("_torch_version", path)
    if spec is None or spec.loader is None or not path.exists():
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    version: str | None = getattr(module, "cuda", None)
    return version
