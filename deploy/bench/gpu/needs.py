"""The packages that the tests of a GPU and its figures take, and the way to those that are missing.

A machine with a GPU often has torch, much else, no network, and not all that we need. What is
missing is installed beside it, into a folder of this checkout, from `.wheels/` if there are any.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# Modules by the names of their packages. torch must be there: it has to fit the GPU's driver.
PACKAGES = {
    "torch": "torch", "numpy": "numpy", "msgspec": "msgspec", "safetensors": "safetensors",
    "nvidia-ml-py": "pynvml", "pytest": "pytest", "onnx": "onnx", "onnxruntime": "onnxruntime",
}  # fmt: skip
WHEELS = ".wheels"
INSTALL_S = 120.0


def missing(packages: Mapping[str, str] = PACKAGES) -> list[str]:
    """The packages whose module is not to be found."""
    return [name for name, module in packages.items() if importlib.util.find_spec(module) is None]


def bring(root: Path, packages: Mapping[str, str] = PACKAGES) -> str:
    """Install what is missing; '' if all is there now, else what to do. `root`: the checkout."""
    brought = site(root)
    _use(brought)
    lacking = missing(packages)
    if "torch" in lacking:
        return f"{sys.executable} has no torch: choose another (make gpu GPU_PYTHON=...)"
    if not lacking:
        return ""
    pinned = [_pinned(name, root) for name in lacking]
    print(f"gpu: installing {', '.join(pinned)} into {brought}", file=sys.stderr, flush=True)
    _install(pinned, brought, root / WHEELS)
    _use(brought)
    if lacking := missing(packages):
        names = " ".join(_pinned(name, root) for name in lacking)
        return (
            f"{sys.executable} lacks {', '.join(lacking)}, and pip could not install it: with a "
            f"network, for this version of Python, run `pip download --no-deps -d {WHEELS} {names}`"
        )
    return ""


def site(root: Path) -> Path:
    """Where packages are installed that this version of Python lacks."""
    return root / ".warmroute" / f"gpu-site-{sys.version_info.major}.{sys.version_info.minor}"


def _use(folder: Path) -> None:
    if folder.is_dir() and str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()


def _pinned(name: str, root: Path) -> str:
    pins = (root / "constraints.txt").read_text()
    found = re.search(rf"^{re.escape(name)}==\S+$", pins, re.MULTILINE)
    return found[0] if found else name


def _install(pinned: list[str], target: Path, wheels: Path) -> None:
    source = ["--no-index", "--find-links", str(wheels)] if any(wheels.glob("*.whl")) else []
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target)]
    try:
        subprocess.run([*command, *source, *pinned], timeout=INSTALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"gpu: pip: {error}", file=sys.stderr)
