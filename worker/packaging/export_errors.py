"""What torch.export says when it refuses a module, without its screens of graph."""

from __future__ import annotations

import re

from worker.runtimes.failures import summary

MAX_CHARS = 700
# "  - You marked n as dynamic but ...": the reason below a first line that only names its kind.
REASON = re.compile(r"^\s+- (.+)$", re.MULTILINE)
CALL = re.compile(r'File "(?:[^"\n]*[/\\])?([^"\n/\\]+)", line (\d+), in \w+\n\s*(.+)')
ADVICE = re.compile(r"\s*For more information, run with .*$|\s*\(unhinted: .*$")
BY_VALUES = "data-dependent"


def refusal(error: BaseException) -> str:
    """The reason, the line of the module it is about, and what else can be done."""
    text = str(error)
    said = ADVICE.sub("", summary(error))
    if (reason := REASON.search(text)) is not None:
        said += f" {reason[1]}"
    if (call := CALL.search(text)) is not None:
        said += f" (at {call[1]} line {call[2]}: {call[3].strip()})"
    if BY_VALUES in text:
        said += "; code that decides by the values of a tensor can be pushed as TorchScript or ONNX"
    return said[:MAX_CHARS]
