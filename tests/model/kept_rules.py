"""What is kept after its end, within budgets: outcomes that wait to be polled, and dead letters."""

from __future__ import annotations

from shared.constants import DEAD_LETTERS_MAX
from tests.model.model import Model
from tests.model.prediction import RESULT_TTL, must
from tests.model.run import Choices, Run

OUTBOX_MS, OF_LETTERS = 60_000, 4
BUDGETS = (1, 1200, 3000, 1 << 40)


async def drop_kept(run: Run, c: Choices) -> None:
    """A gateway holds what is kept to a budget."""
    budget = c.of(BUDGETS)
    answer, m = await run.call(f"drop_kept {budget}", run.scripts.drop_kept(budget))
    outcomes = _drop_oldest(m, "outcomes", budget, run.chunk)
    letters = _drop_oldest(m, "letters", budget / OF_LETTERS, run.chunk)
    want = (outcomes, letters)
    must(answer == want, f"drop_kept says {answer}, not {want}")
    for what, number in (("outcomes", outcomes), ("letters", letters)):
        run.count("drop_kept", what if number else f"no {what}")
    run.check("drop_kept", m)


async def list_letters(run: Run, c: Choices) -> None:
    """An operator looks at dead letters."""
    count = 1 + c.below(2)
    answer, m = await run.call(f"list_letters {count}", run.scripts.list_letters("+", count))
    newest = sorted(m.state.dead_letters, key=_in_time, reverse=True)[:count]
    want = []
    for entry in newest:
        fields = dict(m.state.dead_letters[entry])
        size = len(fields.pop("body", "").encode("latin-1"))
        shown = {name: text for name, text in fields.items() if not name.startswith("entry.")}
        want.append((entry, size, shown))
    got = [
        (entry.decode(), size, dict(zip(_texts(flat[::2]), _texts(flat[1::2]), strict=True)))
        for entry, size, flat in answer
    ]
    must(got == want, f"list_letters says {got}, not {want}")
    run.count("list_letters", "some" if got else "none")
    run.check("list_letters", m)


def _texts(raw: list[bytes]) -> list[str]:
    return [text.decode("latin-1") for text in raw]


def _in_time(entry: str) -> tuple[int, ...]:
    return tuple(int(part) for part in entry.split("-"))


def _drop_oldest(m: Model, kind: str, most: float, chunk: int) -> int:
    dropped = 0
    for _ in range(chunk):
        kept = m.state.kept.get(kind)
        if not kept:
            break
        at, size, name = kept[0].split()
        what = _look(m, kind, int(at), name, int(m.state.kept_bytes[kind]) > most)
        if what == "stays":
            break
        kept.append(kept.pop(0))
        if what == "later":
            continue
        kept.pop()
        m.state.kept_bytes[kind] = str(int(m.state.kept_bytes[kind]) - int(size))
        if what == "dropped":
            dropped += _drop(m, kind, name)
    if not m.state.kept.get(kind):
        m.state.kept.pop(kind, None)
        m.state.kept_bytes.pop(kind, None)
    return dropped


def _look(m: Model, kind: str, at: int, name: str, over: bool) -> str:
    if kind == "letters":
        must(len(m.state.kept[kind]) <= DEAD_LETTERS_MAX, "more letters than a run has")
        return "dropped" if over else "stays"
    if at + RESULT_TTL <= m.now:
        return "ended"
    waited = m.now - at < OUTBOX_MS and m.state.records.get(name, {}).get("reply_to")
    return ("later" if waited else "dropped") if over else "stays"


def _drop(m: Model, kind: str, name: str) -> int:
    if kind == "letters":
        return int(m.state.dead_letters.pop(name, None) is not None)
    known = name in m.state.records
    m.forget(f"request:{name}")
    return int(known)
