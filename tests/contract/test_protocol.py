"""shared/PROTOCOL.md says what the code does: names, fields, moves and times are compared."""

from __future__ import annotations

import re

import pytest

from router.fleet.sweeper import BEAT_EVERY_S, SWEEP_EVERY_S
from router.stream.ingress import ANSWER_LIFE_MS, FIELDS
from shared import config, constants, keys, scripts, shared_memory
from tests.contract.sources import ROOT
from worker import membership
from worker.loading import load_lease
from worker.serving import queued_request

FOLDER = ROOT / "shared"
TEXT = (FOLDER / "PROTOCOL.md").read_text()
LUA = FOLDER / "lua"
SCRIPTS = {path.stem for path in LUA.glob("*.lua")}
RULES = 40
# Rows of the tables of moves: the scripts, and what they do.
TABLES = re.findall(r"^\| script \| run by \|.+\n\|[-|]+\|\n((?:\|.+\n)+)", TEXT, re.MULTILINE)
ROWS = [row.split(" | ") for table in TABLES for row in table.splitlines()]
# What is changed in more than one script is written in these.
PLACEMENT, PUBLISH = (
    (LUA / "lib" / f"{name}.lua").read_text() for name in ("placement", "publish")
)


def described() -> set[str]:
    """Scripts that have a row."""
    return {name for row in ROWS for name in re.findall(r"`(\w+)`", row[0])}


def labels() -> list[str]:
    """What the arrows of the diagrams say, without what stands in brackets."""
    found = re.findall(r"^  \S+ --> \S+: (.+)$", TEXT, re.MULTILINE)
    return [re.sub(r" \(.*\)", "", label) for label in found]


def after(phrase: str) -> str:
    """The text that follows `phrase`, in one line."""
    line = " ".join(TEXT.split())
    assert line.count(phrase) == 1, phrase
    return line.partition(phrase)[2]


def test_every_script_has_a_row_and_every_row_names_scripts_that_exist() -> None:
    """Both ways: a script without a row is not described, a row without one cannot happen."""
    assert len(SCRIPTS) > 10
    assert described() == SCRIPTS


def test_the_arrows_of_the_diagrams_are_scripts() -> None:
    """By name; and each script moves something, but those of doors, gateways and settings."""
    named = {name for label in labels() for name in re.split(r", ", label)}
    events = {
        "drained, freed",
        "back-off over",
        "SIGTERM",
        "kill -9",
        "FLUSHALL",
        "announce what is held",
    }
    assert named - SCRIPTS - {word for event in events for word in event.split(", ")} == set()
    without_a_state = {
        "gateway_beat", "subscribe", "publish_reply", "hand_over", "set_policy", "record_outcomes",
        "renew_load", "drop_kept", "list_letters", "keep_clock",
    }  # fmt: skip
    assert SCRIPTS - named == without_a_state


def test_every_key_in_the_text_is_one_of_ours() -> None:
    """`kind:<id>` as the table of shared/keys.py writes it, and single words called a stream."""
    table = set(re.findall(r"^\| `([^`]+)` \|", keys.__doc__ or "", re.MULTILINE))
    named = set(re.findall(r"`([a-z_-]+:<[a-z0-9]+>)`", TEXT))
    streams = set(re.findall(r"[Ss]tream `([a-z_]+)`", TEXT))
    assert len(named) > 5
    assert streams == {"ingress", "dead_letters", "failures"}
    assert (named | streams) - table == set()


def test_a_work_entry_has_the_fields_of_the_table_in_its_order() -> None:
    """As placement writes it, and as the worker insists on."""
    documented = re.findall(r"^\| `(\w+)` \|", after_section("**Work entry**"), re.MULTILINE)
    added = re.search(r"'XADD', stream, '\*', (.+?)\)\n", PLACEMENT, re.DOTALL)
    assert added
    assert documented == [name.decode() for name in queued_request.FIELDS]
    assert documented == re.findall(r"'(\w+)'", added[1])


def test_a_reply_and_a_record_have_the_fields_that_the_scripts_write() -> None:
    """Space-separated lists in the text."""
    reply = re.search(r"'NOMKSTREAM'.+?\)\n", PUBLISH, re.DOTALL)
    record = re.search(r"'HSET', key, 'status', status, 'model'.+?\)\n", PLACEMENT, re.DOTALL)
    ended = re.search(r"'HSET', key, 'status', status, 'worker'.+?\)\n", PUBLISH, re.DOTALL)
    assert reply and record and ended
    assert fields("trimmed): ") == re.findall(r"'([a-z]+)', \w", reply[0])
    assert fields("**Record** (hash `request:<id>`): ") == names_written(record[0])
    assert fields("`, later ") == [n for n in names_written(ended[0]) if n != "status"]


def test_an_ingress_entry_has_the_fields_that_the_door_takes() -> None:
    """Those it needs, then those it may have."""
    assert {*fields("(stream `ingress`): "), *fields("and optionally ")} == FIELDS


@pytest.mark.parametrize(
    ("phrase", "said"),
    [
        ("tensors that take ", f"{shared_memory.SHARED_MEMORY_FROM_BYTES >> 10} KiB or more"),
        ("the byte ", f"0x{shared_memory.MARK.hex().upper()} and the file's name"),
        ("gateway, when it reads it; after ", f"{shared_memory.UNCLAIMED_S:g} s if it is unread"),
        ("is kept for pollers is kept for ", "an hour"),
        ("The answer stream expires ", "an hour after its last answer"),
        ("The lease is then renewed every ", f"{load_lease.RENEW_EVERY_S:g} s"),
        (
            "between `claim_load` and `announce` | the lease | it times out ",
            f"({load_lease.LOAD_LEASE_MS // 1000} s)",
        ),
        ("A call does work up to a budget of ", f"{scripts.CHUNK}:"),
        ("within lease (`WARMROUTE_LEASE_S`) + sweep ", f"({SWEEP_EVERY_S:g} s)"),
    ],
)
def test_a_number_in_the_text_is_the_one_in_the_code(phrase: str, said: str) -> None:
    """Times and sizes."""
    assert after(phrase).startswith(said)


def test_times_that_lua_knows_are_those_of_the_text() -> None:
    """An hour for outcomes and answers, 20 seconds for an order, each second a beat."""
    assert constants.RESULT_TTL_MS == ANSWER_LIFE_MS == 3600 * 1000
    order_s, claim_s = constants.ORDER_TTL_MS // 1000, constants.CLAIM_TTL_MS // 1000
    said = after("a lease without an order | `sweep`: the lease times out ")
    assert said.startswith(f"({claim_s} s after the sweep found")
    assert f"that of a further copy ends after {order_s} s." in TEXT
    assert membership.BEAT_EVERY_S == BEAT_EVERY_S == 1
    assert TEXT.count("| every second: ") == 2


def test_settings_and_files_named_in_the_text_exist() -> None:
    """Variables of shared/config.py, and paths seen from shared/."""
    kinds = (config.RouterConfig, config.WorkerConfig)
    known = {row[0] for kind in kinds for row in config.describe(kind)}
    assert set(re.findall(r"\bWARMROUTE_\w+", TEXT)) - known == set()
    paths = set(re.findall(r"`([\w./]+(?:\.py|\.lua|/))`", TEXT))
    assert len(paths) > 8
    assert {path for path in paths if not (FOLDER / path).exists()} == set()


def test_every_rule_names_tests_that_speak_of_it() -> None:
    """Section 9: the rules in their order, each with a file in which its number stands."""
    rules = re.findall(r"^\| (I\d+) \| .+ \| ([^|]+) \|$", TEXT, re.MULTILINE)
    assert [number for number, _ in rules] == [f"I{n}" for n in range(1, RULES + 1)]
    missing = [
        (number, path)
        for number, paths in rules
        for path in re.findall(r"`([^`]+)`", paths)
        if not re.search(rf"\b{number}\b", (FOLDER / path).read_text())
    ]
    assert missing == []


def after_section(start: str) -> str:
    """From `start` to the next bold word at the beginning of a line."""
    assert TEXT.count(start) == 1
    return TEXT.partition(start)[2].partition("\n**")[0]


def fields(phrase: str) -> list[str]:
    """The names in the backticks that follow `phrase`."""
    found = re.match(r"`([^`]+)`", after(phrase))
    assert found, phrase
    return found[1].split()


def names_written(call: str) -> list[str]:
    """Field names of an HSET, which alternate with Lua expressions."""
    return re.findall(r"'([a-z]+)', (?:[a-z]|item)", call)
