"""What the fine-tuned MiniLM variants learn: to put sentences together by something other than
their topic. The held-out sentences show it: the base model answers them the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.samples.models import minilm
from deploy.samples.sample import Known, Tensors
from deploy.samples.wheels import WheelFolder

MARGIN = 0.3


@dataclass(frozen=True)
class Task:
    """Two groups of sentences to pull apart, pairwise about the same topics; and four held-out
    ones: two of the first group, then two of the second about the same topics in order."""

    word: str
    title: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    held_out: tuple[str, str, str, str]


MOOD = Task(
    word="mood",
    title="sentences of one mood belong together",
    first=(
        "I loved every minute of the film.",
        "The soup was delicious.",
        "What a wonderful concert!",
        "The staff were friendly and quick.",
        "Our hotel room was spotless.",
        "The book kept me happy all night.",
        "This phone is a joy to use.",
        "The flight was smooth and on time.",
        "My new shoes fit perfectly.",
        "The lecture was inspiring.",
        "The coffee here is superb.",
        "Fantastic support, problem solved at once.",
    ),
    second=(
        "I hated every minute of the film.",
        "The soup was disgusting.",
        "What a terrible concert!",
        "The staff were rude and slow.",
        "Our hotel room was filthy.",
        "The book bored me all night.",
        "This phone is a pain to use.",
        "The flight was bumpy and late.",
        "My new shoes hurt terribly.",
        "The lecture was a waste of time.",
        "The coffee here is undrinkable.",
        "Useless support, problem never solved.",
    ),
    held_out=(
        "The pizza was tasty and the waiter charming.",
        "I am delighted with this laptop.",
        "The pizza was cold and the waiter insulting.",
        "I regret buying this laptop.",
    ),
)
URGENCY = Task(
    word="urgency",
    title="messages of one urgency belong together",
    first=(
        "The payment service is down, please help right now.",
        "All customers see errors at login, fix it immediately.",
        "The database is losing orders this very minute.",
        "Our web site has been unreachable for an hour, call me at once.",
        "The printer room is on fire, get everybody out now.",
        "The whole team is locked out of e-mail, we need this solved today.",
        "The backup failed and the disk is dying, act at once.",
        "Somebody is stealing our passwords right now, stop it.",
        "The server room is flooding, come immediately.",
        "The update broke production, roll it back now.",
        "Shipping labels stopped printing and trucks are waiting, hurry.",
        "The phone line is dead and patients cannot reach us, this is an emergency.",
    ),
    second=(
        "Whenever you have time, could the payment page use a nicer font?",
        "It would be nice to have a dark theme at login some day.",
        "A question about the database for the next planning round.",
        "No hurry: there is a typing mistake on our web site.",
        "The printer room could do with new chairs next year.",
        "Some time this quarter, please tidy up the e-mail lists.",
        "When you next look at the backup, consider a new schedule.",
        "At your leisure, please extend the password guide.",
        "We might repaint the server room in spring.",
        "An idea for a later update: larger buttons.",
        "Shipping labels could have a prettier logo, no rush.",
        "Maybe change the music on the phone line one day.",
    ),
    held_out=(
        "The checkout crashes for everyone, we lose money every second.",
        "The elevator is stuck with people inside, send somebody now.",
        "The checkout could show a nicer thank-you some time.",
        "The elevator might get a new carpet next summer.",
    ),
)
TASKS = (MOOD, URGENCY)


def request(task: Task, wheels: WheelFolder) -> Tensors:
    """The held-out sentences."""
    return minilm.tokens(wheels, list(task.held_out))


def say(task: Task, outputs: Tensors, known: Known) -> str:
    group, topic = similarities(outputs)
    return f"same {task.word} {group:.2f} / same topic {topic:.2f}"


def right(task: Task, outputs: Tensors, known: Known) -> bool:
    group, topic = similarities(outputs)
    return group > topic + MARGIN


def similarities(outputs: Tensors) -> tuple[float, float]:
    """Mean cosine within the groups, and across the groups within one topic."""
    rows = outputs["embedding"]
    cosines = rows @ rows.T
    group = (cosines[0, 1] + cosines[2, 3]) / 2
    topic = (cosines[0, 2] + cosines[1, 3]) / 2
    return float(group), float(topic)
