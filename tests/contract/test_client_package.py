"""The client `warmroute` stands alone: its own distribution, its own copies, one surface twice."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib

import pytest

import warmroute
from router.v2 import response as server_response
from shared import datatypes as server_datatypes
from tests.contract.sources import ROOT, files, imports, named
from warmroute import datatypes, encoding

SERVER = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLIENT = tomllib.loads((ROOT / "deploy" / "client" / "pyproject.toml").read_text())["project"]
TWINS = [
    (warmroute.Client, warmroute.AsyncClient),
    (warmroute.Pending, warmroute.AsyncPending),
    (warmroute.Session, warmroute.AsyncSession),
]


def test_both_distributions_have_one_version_and_the_client_no_dependency_of_its_own() -> None:
    """The server contains the same package."""
    assert (CLIENT["name"], CLIENT["version"]) == ("warmroute-client", SERVER["version"])
    assert set(CLIENT["dependencies"]) <= set(SERVER["dependencies"])


def test_the_client_imports_numpy_and_one_http_library_only() -> None:
    """At the top and inside functions."""
    allowed = set(sys.stdlib_module_names) | {"warmroute"}
    allowed |= {re.match(r"[\w.-]+", line)[0] for line in CLIENT["dependencies"]}
    foreign = {
        f"{named(path)}: {name}"
        for path in files(".py", "deploy/client")
        for name in imports(path)
        if name.split(".")[0] not in allowed
    }
    assert foreign == set() and allowed >= {"numpy", "httpx"}


def test_importing_the_client_brings_in_nothing_of_the_server() -> None:
    """Nor its libraries."""
    code = "import sys, warmroute; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    foreign = {"router", "worker", "shared", "deploy", "aiohttp", "redis", "boto3", "rq", "torch"}
    assert set(run.stdout.split()) & (foreign | {"msgspec", "tenacity"}) == set()


def test_the_clients_copies_are_what_the_server_says() -> None:
    """Datatypes and the header with the length of the JSON part."""
    assert datatypes.NUMPY == server_datatypes.NUMPY
    assert (datatypes.ALL, datatypes.NO_JSON) == (server_datatypes.ALL, server_datatypes.NO_JSON)
    assert encoding.HEADER_LENGTH == server_response.HEADER_LENGTH


@pytest.mark.parametrize(("blocking", "asynchronous"), TWINS)
def test_both_clients_have_one_surface(blocking: type, asynchronous: type) -> None:
    """The same names, arguments, defaults and results, but for what is awaited or iterated."""
    first, second = _surface(blocking), _surface(asynchronous)
    assert first.keys() == second.keys()
    assert {name: said for name, said in second.items() if said != first[name]} == {}


@pytest.mark.parametrize("kind", [kind for pair in TWINS for kind in pair])
def test_every_public_name_says_what_it_does(kind: type) -> None:
    """Its docstring is read alone, in a hover."""
    public = [name for name in vars(kind) if not name.startswith("_")]
    assert [name for name in public if not inspect.getdoc(getattr(kind, name))] == []
    assert inspect.getdoc(kind)


def _surface(kind: type) -> dict[str, str]:
    found = {}
    for name, member in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_") or name == "__init__":
            signature = str(inspect.signature(member))
            found[name] = re.sub(r"\bAsync(Base)?", lambda match: match[1] or "", signature)
    return found
