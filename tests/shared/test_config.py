"""Settings: read from a mapping, checked together, shown without secrets."""

from __future__ import annotations

import dataclasses

import pytest

from shared.config import (
    CellConfig,
    RouterConfig,
    WorkerConfig,
    describe,
    read,
)
from shared.errors import ConfigError
from shared.setting import mask_url

ENV = {"REDIS_URL": "redis://localhost:6379/0", "MODEL_REPOSITORY": "file:///models"}


def faults(cls: type[CellConfig], **env: str) -> str:
    """What `read` complains about."""
    with pytest.raises(ConfigError) as caught:
        read(cls, ENV | env)
    return caught.value.message


def test_two_settings_are_enough() -> None:
    """Everything else has a default; a gateway listens on loopback only."""
    config = read(RouterConfig, ENV)
    assert (config.redis_url, config.model_repository) == tuple(ENV.values())
    assert (config.host, config.cell) == ("127.0.0.1", "warmroute")
    assert read(WorkerConfig, ENV).threads == 1


def test_values_are_read_with_their_types() -> None:
    """Integers, numbers and text."""
    env = ENV | {"PORT": "9", "WARMROUTE_LEASE_S": "2.5", "WARMROUTE_HOST": "::"}
    config = read(RouterConfig, env)
    assert (config.port, config.lease_s, config.host) == (9, 2.5, "::")


def test_an_empty_value_counts_as_absent() -> None:
    """As Procfiles and shells leave them."""
    assert read(RouterConfig, ENV | {"PORT": ""}).port == RouterConfig.port


def test_variables_that_are_not_ours_are_ignored() -> None:
    """The environment is full of them."""
    assert read(WorkerConfig, ENV | {"PORT": "not a number", "HOME": "/"}).threads == 1


@pytest.mark.parametrize("entry", ["/", "s3://", "models", "file:///", "s3://models//a", "*"])
def test_a_place_to_trust_that_is_none_is_refused(entry: str) -> None:
    """It would trust nothing, without a word."""
    found = faults(WorkerConfig, WARMROUTE_TRUST_CODE=f"s3://models/a, {entry}")
    assert found.count("WARMROUTE_TRUST_CODE: model repository URL") == 1
    assert read(WorkerConfig, ENV | {"WARMROUTE_TRUST_CODE": "s3://models/a%2Cb,file:///x y,"})


def test_all_faults_are_reported_together() -> None:
    """So they are mended in one go; each names its variable."""
    message = faults(
        RouterConfig, REDIS_URL="http://x", MODEL_REPOSITORY="/models", PORT="x",
        WARMROUTE_LEASE_S="0", WARMROUTE_CELL="a b", WARMROUTE_MAX_QUEUE="1.5",
    )  # fmt: skip
    for name in ("REDIS_URL", "MODEL_REPOSITORY", "PORT", "WARMROUTE_LEASE_S", "WARMROUTE_CELL",
                 "WARMROUTE_MAX_QUEUE"):  # fmt: skip
        assert name in message


def test_what_is_missing_is_a_fault_too() -> None:
    """With what is wanted."""
    with pytest.raises(
        ConfigError, match=r"REDIS_URL: want redis://.*MODEL_REPOSITORY: want s3://"
    ):
        read(WorkerConfig, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [("WARMROUTE_LEASE_S", "nan"), ("WARMROUTE_LEASE_S", "inf"), ("WARMROUTE_LEASE_S", "-1"),
     ("WARMROUTE_MAX_QUEUE", "0"), ("WARMROUTE_MAX_BODY_BYTES", "-5"), ("PORT", "-1"),
     ("WARMROUTE_TIMEOUT_S", "1e999"), ("WARMROUTE_MAX_PARKED", "ten"),
     ("WARMROUTE_MAX_QUEUE", "1_0"), ("WARMROUTE_LEASE_S", "\u0661\u0660"),
     ("WARMROUTE_LEASE_S", "1e12"), ("WARMROUTE_CATALOG_TTL_S", "1e12"), ("PORT", "65536"),
     ("WARMROUTE_KEPT_BYTES", "1" + 30 * "0"), ("WARMROUTE_STRICT", "2")],
)  # fmt: skip
def test_a_number_out_of_range_is_a_fault(name: str, value: str) -> None:
    """Not a number, infinite, below the least value or above the highest; that one is named."""
    assert name in faults(RouterConfig, **{name: value})


@pytest.mark.parametrize("cell", ["", "warm", "a-b_c", "Cell7"])
def test_a_cell_that_passes_makes_keys(cell: str) -> None:
    """What the settings allow, the keys take."""
    from shared.keys import Keys

    assert Keys(read(CellConfig, ENV | {"WARMROUTE_CELL": cell}).cell).prefix


@pytest.mark.parametrize("cell", ["{a}", "a:b", "a" * 65, "ä", "a b", "..", "-a", "_a", "blobs"])
def test_a_cell_that_would_make_no_keys_is_a_fault(cell: str) -> None:
    """It is told at the start, by the variable's name."""
    assert "WARMROUTE_CELL" in faults(CellConfig, WARMROUTE_CELL=cell)


def test_a_fault_names_the_limit() -> None:
    """A way out, before a socket or Redis complains of something else."""
    message = faults(RouterConfig, PORT="65536", WARMROUTE_LEASE_S="86400")
    assert "PORT: 65536 is above the highest value 65535" in message
    assert "WARMROUTE_LEASE_S: 86400 is above the highest value 3600" in message


def test_a_default_deadline_over_the_longest_allowed_is_a_fault() -> None:
    """Every request that names none would be refused."""
    message = faults(RouterConfig, WARMROUTE_TIMEOUT_S="100", WARMROUTE_MAX_TIMEOUT_S="50")
    assert "WARMROUTE_TIMEOUT_S" in message


@pytest.mark.parametrize("worker", ["a b", "a:b", "ä", "{a}", "a" * 129, "a\nb"])
def test_a_worker_name_is_safe_in_keys_and_lists(worker: str) -> None:
    """Names stand in keys, and in lists separated by spaces."""
    assert "WARMROUTE_WORKER_ID" in faults(WorkerConfig, WARMROUTE_WORKER_ID=worker)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@host/0", "redis://:***@host/0"),
        ("rediss://me:secret@host:1/2?x=1", "rediss://me:***@host:1/2?x=1"),
        ("redis://me:se@cr@et@host/0", "redis://me:***@host/0"),
        ("redis://me@host/0", "redis://me@host/0"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("redis://:secret@[::1]:6379/0", "redis://:***@[::1]:6379/0"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    """Everything else is."""
    assert mask_url(url) == shown


def test_a_password_in_the_query_is_not_shown_either() -> None:
    """redis-py takes one there too."""
    assert "secret" not in mask_url("redis://host/0?password=secret")


@pytest.mark.parametrize("cls", [RouterConfig, WorkerConfig])
def test_every_setting_is_described(cls: type[CellConfig]) -> None:
    """Variable, default and one sentence; each variable once; seconds and bytes have their unit."""
    rows = describe(cls)
    names = [name for name, *_ in rows]
    assert len(rows) == len(set(names)) == len(dataclasses.fields(cls))
    for name, unit, _, doc in rows:
        assert doc.endswith(".") and len(doc) > 15
        assert unit == {"_S": "s", "ES": "bytes"}.get(name[-2:], ""), name


def test_both_processes_agree_on_the_cell() -> None:
    """The shared settings are the same fields with the same defaults."""
    shared = set(describe(CellConfig))
    assert shared <= set(describe(RouterConfig)) and shared <= set(describe(WorkerConfig))
