"""Import rules that import-linter (`make lint`) cannot say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib

from tests.contract.sources import PACKAGES, ROOT, files, imports, named, tree

# The bench measures a bare aiohttp server beside ours; nothing else outside the gateway serves.
MAY_SERVE_HTTP = ("router/rest/", "router/app.py", "deploy/bench/")
MAY_READ_ENVIRONMENT = (
    "deploy/", "router/__main__.py", "worker/__main__.py", "worker/process.py",
)  # fmt: skip
IMPORT_NAMES = {"boto3": {"boto3", "botocore"}}


def test_only_the_http_door_serves_http() -> None:
    """`aiohttp.web` is imported by the door and its wiring; other layers know no protocol."""
    serving = {named(path) for path in files(".py") if "aiohttp.web" in set(imports(path))}
    assert serving, "the gateway itself should be among them"
    assert {name for name in serving if not name.startswith(MAY_SERVE_HTTP)} == set()


def test_the_gateway_runs_without_torch_and_without_the_worker() -> None:
    """Importing all of the gateway brings in nothing that only a worker needs."""
    code = "import sys, router.app, router.__main__; print(*sorted(sys.modules))"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    loaded = set(run.stdout.split())
    assert "router.app" in loaded
    assert loaded & {"torch", "onnxruntime", "safetensors", "pynvml", "rq", "worker"} == set()


def test_gateway_client_and_command_need_only_the_base_dependencies() -> None:
    """What they import at the top is named in [project] dependencies of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = set(sys.stdlib_module_names) | {*PACKAGES, "warmroute"}
    for requirement in project["dependencies"]:
        name = re.match(r"[\w.-]+", requirement)[0]
        allowed |= IMPORT_NAMES.get(name, {name})
    sources = files(".py", "router", "shared", "deploy/client", "deploy/cli")
    foreign = {
        f"{named(path)}: {name}"
        for path in sources
        for name in imports(path, everywhere=False)
        if name.split(".")[0] not in allowed
    }
    assert foreign == set()


def test_settings_are_read_in_one_place_per_process() -> None:
    """os.environ is handed to shared.config by each __main__, and not looked at elsewhere."""
    readers = {named(path) for path in files(".py") if _reads_environment(tree(path))}
    assert {name for name in readers if not name.startswith(MAY_READ_ENVIRONMENT)} == set()


def test_nothing_unpickles() -> None:
    """No pickle module, and torch.load only with weights_only=True, written out."""
    faults = {
        f"{named(path)}: {name}"
        for path in files(".py")
        for name in imports(path)
        if name.split(".")[0] in {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
    }
    faults |= {
        f"{named(path)}:{call.lineno} torch.load"
        for path in files(".py")
        for call in ast.walk(tree(path))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "torch.load"
        and "weights_only=True" not in ast.unparse(call)
    }
    assert faults == set()


def _reads_environment(module: ast.Module) -> bool:
    return any(
        ast.unparse(node) in {"os.environ", "os.getenv"}
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute)
    )
