"""Processes that cannot work do not start: exit status 2, and one message that says why."""

from __future__ import annotations

import pytest

from deploy.local.ports import free_ports
from shared.constants import OLDEST_PROTOCOL, PROTOCOL
from shared.keys import Keys
from tests.helpers.stack import Stack

SECRET = "hunter2-hunter2"
NAMES = {"router": "warmroute gateway: ", "worker": "warmroute worker: "}
BOTH = pytest.mark.parametrize("module", NAMES)


def refusal(stack: Stack, module: str, **settings: str) -> str:
    """What a process says that must not start, and that has not joined the cell before it ended."""
    before = members(stack)
    said = last_words(stack, module, **settings)
    assert members(stack) <= before
    return said


def last_words(stack: Stack, module: str, **settings: str) -> str:
    """The one message of a process that ends by itself."""
    number = len(list(stack.folder.glob("refused-*")))
    child = stack.launch(module, f"refused-{number}", settings)
    assert child.wait(50) == 2, child.log_tail()
    text = child.log.read_text()
    assert "Traceback" not in text and SECRET not in text
    messages = [line for line in text.splitlines() if line.startswith(NAMES[module])]
    assert len(messages) == 1, text
    assert text.endswith(messages[0] + "\n")
    return messages[0].removeprefix(NAMES[module])


def members(stack: Stack) -> set[bytes]:
    keys = (stack.keys.workers, stack.keys.gateways)
    return {name for key in keys for name in stack.redis.zrange(key, 0, -1)}


@BOTH
def test_all_faults_of_the_settings_are_told_at_once(system: Stack, module: str) -> None:
    """Each by its variable."""
    said = refusal(
        system, module, REDIS_URL="", MODEL_REPOSITORY="ftp://somewhere", WARMROUTE_LEASE_S="soon",
        WARMROUTE_CELL="a b", WARMROUTE_MAX_ATTEMPTS="0",
    )  # fmt: skip
    for name in ("REDIS_URL", "MODEL_REPOSITORY", "LEASE_S", "CELL", "MAX_ATTEMPTS"):
        assert name in said


@BOTH
def test_without_redis_it_does_not_start(system: Stack, module: str) -> None:
    """The URL is shown, its password is not."""
    port = free_ports(1)[0]
    said = refusal(system, module, REDIS_URL=f"redis://:{SECRET}@127.0.0.1:{port}/0")
    assert said.startswith(f"REDIS_URL: redis://:***@127.0.0.1:{port}/0 cannot be used:")


def test_with_a_wrong_password_for_redis_it_does_not_start(system: Stack) -> None:
    """Redis's own reason is told."""
    url = system.redis_server.url.replace("redis://", f"redis://someone:{SECRET}@")
    said = refusal(system, "router", REDIS_URL=url)
    assert said.startswith("REDIS_URL: redis://someone:***@") and "invalid username" in said


@BOTH
def test_without_its_repository_it_does_not_start(system: Stack, module: str) -> None:
    """A folder that is not there: a typing error, or a disk that was not mounted."""
    missing = (system.folder / "not-mounted").as_uri()
    said = refusal(system, module, MODEL_REPOSITORY=missing)
    assert said == "model repository: the folder does not exist"


@BOTH
def test_when_its_object_store_does_not_answer_it_does_not_start(
    system: Stack, module: str
) -> None:
    """The credentials are not shown."""
    said = refusal(
        system, module, MODEL_REPOSITORY="s3://models/main",
        S3_ENDPOINT_URL=f"http://127.0.0.1:{free_ports(1)[0]}", AWS_ACCESS_KEY_ID="someone",
        AWS_SECRET_ACCESS_KEY=SECRET,
    )  # fmt: skip
    assert said.startswith("model repository: the store does not answer")


@BOTH
def test_credentials_in_the_repository_url_are_refused_and_not_shown(
    system: Stack, module: str
) -> None:
    """They would end up in logs."""
    said = refusal(system, module, MODEL_REPOSITORY=f"s3://someone:{SECRET}@models")
    assert "credentials do not belong" in said


def test_a_worker_whose_device_is_not_there_does_not_start(system: Stack) -> None:
    """It does not fall back to another."""
    assert "cuda:99" in refusal(system, "worker", WARMROUTE_DEVICE="cuda:99")


def test_a_worker_that_cannot_write_its_cache_does_not_start(system: Stack) -> None:
    """Better now than at the first load."""
    said = refusal(system, "worker", WARMROUTE_DISK_CACHE=str(system.redis_server.child.log))
    assert "CACHE" in said


def test_a_gateway_whose_port_is_taken_does_not_start(stack: Stack) -> None:
    """By another gateway, for example."""
    port = stack.gateways[0].url.rpartition(":")[2]
    said = last_words(stack, "router", PORT=port)
    assert said.startswith("cannot listen on") and "in use" in said.lower()


def live_process(stack: Stack, kind: str, writes: int, reads: int) -> str:
    """A cell with one live process of another release, named `there`; the cell's name."""
    cell = f"beside-{kind}-{writes}"
    keys = Keys(cell)
    until = int(stack.redis.time()[0]) * 1000 + 600_000
    if kind == "worker":
        stack.redis.hset(keys.worker("there"), "protocol", f"{writes} {reads}")
        stack.redis.zadd(keys.workers, {"there": until})
    else:
        stack.redis.set(keys.gateway("there"), f"{writes} {reads}")
        stack.redis.zadd(keys.gateways, {"there": until})
    return cell


@BOTH
@pytest.mark.parametrize("there", ["gateway", "worker"])
def test_beside_a_newer_release_that_does_not_read_its_protocol_it_does_not_start(
    system: Stack, module: str, there: str
) -> None:
    """The message names the numbers of both, and that this process is the one to upgrade."""
    writes, reads = PROTOCOL + 2, PROTOCOL + 1
    cell = live_process(system, there, writes, reads)
    text = refusal(system, module, WARMROUTE_CELL=cell)
    this = "gateway" if module == "router" else module
    assert text == (
        f"protocol: this {this} writes {PROTOCOL} and reads {OLDEST_PROTOCOL} to {PROTOCOL}, "
        f"{there} there writes {writes} and reads {reads} to {writes}; this {this} is too old: "
        f"start a release with protocol {reads} or newer"
    )
    keys = Keys(cell)
    joined = [system.redis.zrange(key, 0, -1) for key in (keys.workers, keys.gateways)]
    assert sorted(joined) == [[], [b"there"]]


@BOTH
def test_beside_an_older_release_whose_protocol_it_does_not_read_it_does_not_start(
    system: Stack, module: str
) -> None:
    """The message names the process to upgrade first."""
    cell = live_process(system, "worker", OLDEST_PROTOCOL - 1, OLDEST_PROTOCOL - 1)
    text = refusal(system, module, WARMROUTE_CELL=cell)
    assert f"worker there writes {OLDEST_PROTOCOL - 1} and reads" in text
    assert text.endswith(
        f"worker there is too old: upgrade it to protocol {OLDEST_PROTOCOL} or newer first"
    )
