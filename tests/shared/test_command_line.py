"""Processes that are told everything by environment: what they say of themselves, and of typos."""

from __future__ import annotations

import pytest

from shared import command_line
from shared.config import RouterConfig, WorkerConfig, check_names, describe
from shared.errors import ConfigError

KINDS = (RouterConfig, WorkerConfig)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", ["--help", "-h"])
def test_help_has_every_setting_with_its_default(
    kind: type[RouterConfig | WorkerConfig], asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the table that the README has."""
    with pytest.raises(SystemExit) as ended:
        command_line.parse("router", "Does.", command_line.settings_of(kind), [asked])
    shown = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    for variable, _, _, meaning in describe(kind):
        assert f" {variable} (" in shown and meaning in shown
    assert "REDIS_URL (must be set)" in shown and "WARMROUTE_LEASE_S (default: 10 s)" in shown


def test_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else happens."""
    with pytest.raises(SystemExit) as ended:
        command_line.parse("router", "Does.", [], ["--version"])
    assert (ended.value.code, capsys.readouterr().out.split()[0]) == (0, "warmroute")


@pytest.mark.parametrize("argument", ["start", "--port=1", "-v"])
def test_an_argument_is_refused(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With status 2."""
    with pytest.raises(SystemExit) as ended:
        command_line.parse("router", "Does.", [], [argument])
    assert ended.value.code == 2 and "unrecognized" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WARMROUTE_CATALOG_TTL", "WARMROUTE_CATALOG_TTL_S"),
        ("WARMROUTE_LEAS_S", "WARMROUTE_LEASE_S"),
        ("WARMROUTE_ULR", "WARMROUTE_URL"),
        ("WARMROUTE_PORT", "PORT"),
        ("WARMROUTE_REDIS_URL", "REDIS_URL"),
        ("WARMROUTE_XYZZY", None),
    ],
)
def test_a_name_that_nobody_reads_is_told_with_the_one_that_was_meant(
    name: str, meant: str | None
) -> None:
    """If one is near."""
    (said,) = command_line.unknown_names({name: "1", "PATH": "/"}, KINDS)
    assert said == f"{name} is not a setting" + (f", did you mean {meant}?" if meant else "")


def test_what_any_process_reads_is_known_to_all() -> None:
    """A gateway and a worker may share one environment; tests and failpoints have names too."""
    names = {row[0] for kind in KINDS for row in describe(kind)} | command_line.OTHERS
    env = dict.fromkeys([*names, "WARMROUTE_TEST_REDIS"], "1")
    assert command_line.unknown_names(env, KINDS) == []


def test_strict_refuses_them_and_else_they_are_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Which the log has."""
    urls = {"redis_url": "redis://h", "model_repository": "file:///m"}
    env = {"WARMROUTE_NOSUCH": "1"}
    check_names(env, RouterConfig(**urls))
    assert "WARMROUTE_NOSUCH" in caplog.text
    with pytest.raises(ConfigError, match="WARMROUTE_NOSUCH"):
        check_names(env, RouterConfig(**urls, strict=1))
