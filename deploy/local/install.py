"""`python3 -m deploy.local.install PROFILE`: makes `.venv`, with everything pinned.

Runs before anything is installed, so it uses the standard library only. A second run with unchanged
pins does not start pip at all.

Debian and Ubuntu ship Python without ensurepip. Then pip comes from, in this order: the system's
own pip, the system's pip wheel, that wheel's package unpacked by `apt-get download` (needs no
root), so that only the sources this machine is set up for are asked.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST = (3, 11)
TORCH = "torch==2.13.0"
EXTRAS = {"run": "worker,local", "dev": "worker,local,dev"}
SYSTEM_WHEELS = Path("/usr/share/python-wheels")


class CannotInstall(Exception):
    """The message is shown to the user."""


def main() -> int:
    """Entry point: exit status 0, or 1 with one clear message."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", choices=sorted(EXTRAS))
    parser.add_argument("--torch-index", default="", help="index for the torch wheel only")
    options = parser.parse_args()
    try:
        with one_at_a_time(ROOT / ".warmroute" / "install.lock"):
            install(options.profile, options.torch_index)
    except CannotInstall as error:
        print(f"warmroute: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"warmroute: pip ended with status {error.returncode}, see above", file=sys.stderr)
        return 1
    return 0


def install(profile: str, torch_index: str) -> None:
    """Bring `.venv` to the profile, or do nothing where it is already there."""
    check_python()
    expected = fingerprint(profile)
    stamp = VENV / f".warmroute-{profile}"
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == expected:
        return
    if not works([str(PYTHON), "-m", "pip", "--version"]):
        make_venv()
    stamp.unlink(missing_ok=True)
    # torch on its own: its index may be another one, and its dependencies come pinned below.
    index = ["--index-url", torch_index] if torch_index else []
    pip("install", "--no-deps", TORCH, *index)
    pip("install", "-c", "constraints.txt", "-e", f".[{EXTRAS[profile]}]")
    stamp.write_text(expected)


def check_python() -> None:
    """Refuse a Python that is too old before pip does so in many more words."""
    if sys.version_info < OLDEST:
        have = ".".join(map(str, sys.version_info[:2]))
        raise CannotInstall(f"Python {have} is too old, 3.11 or newer is needed (make PYTHON=...)")


def fingerprint(profile: str) -> str:
    """What the installation depends on: the pins, the profile and the interpreter."""
    seen = hashlib.sha256(f"{EXTRAS[profile]} {TORCH} {sys.version}".encode())
    for name in ("pyproject.toml", "constraints.txt"):
        seen.update((ROOT / name).read_bytes())
    return seen.hexdigest()


def make_venv() -> None:
    """A virtual environment with pip in it."""
    print("warmroute: making .venv", flush=True)
    if works([sys.executable, "-m", "venv", "--clear", str(VENV)]):
        return
    subprocess.run(
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(VENV)], check=True
    )
    for source in (pip_of_the_system, wheel_of_the_system, wheel_from_apt):
        if source():
            return
    raise CannotInstall(
        "this Python has no ensurepip, and no pip was found to take its place. "
        "Install the package python3-venv (or python3-pip), then run make again."
    )


def pip_of_the_system() -> bool:
    """pip 22.3 and later can install into another interpreter's environment."""
    system = [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    return works([*system, "install", "--quiet", "pip"])


def wheel_of_the_system() -> bool:
    """Debian keeps pip's wheel for its own venv package."""
    return pip_from_wheel(SYSTEM_WHEELS)


def wheel_from_apt() -> bool:
    """The package of that wheel, fetched with the machine's apt settings and unpacked here."""
    folder = ROOT / ".warmroute" / "apt"
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    private = ["-o", f"Dir::State::Lists={folder / 'lists'}", "-o", f"Dir::Cache={folder}"]
    steps = [
        ["apt-get", *private, "-qq", "update"],
        ["apt-get", *private, "-qq", "download", "python3-pip-whl"],
    ]
    if not all(works(step, cwd=folder) for step in steps):
        return False
    packages = sorted(folder.glob("python3-pip-whl_*.deb"))
    if not packages or not works(["dpkg-deb", "-x", str(packages[-1]), str(folder / "root")]):
        return False
    return pip_from_wheel(folder / "root" / SYSTEM_WHEELS.relative_to("/"))


def pip_from_wheel(folder: Path) -> bool:
    """A wheel can be run in place, and pip's can install itself."""
    return any(
        works([str(PYTHON), f"{wheel}/pip", "install", "--quiet", "--no-index", str(wheel)])
        for wheel in sorted(folder.glob("pip-*.whl"))
    )


def works(command: list[str], cwd: Path = ROOT) -> bool:
    """Whether a command exists and succeeds; what it says is of no use to the user."""
    try:
        return subprocess.run(command, cwd=cwd, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def pip(*arguments: str) -> None:
    """pip in the environment, talking to the user: its own progress bars are the progress."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments]
    print("warmroute: pip", *arguments, flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Two `make up` in one fresh checkout: the second waits, then finds everything done."""
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
