"""Errors of onnxruntime for a model that it does not open, in plain sentences with what to do.

Its own texts name lines of its C++ source and the path of the file, and the reason comes last.
Those about the making of a model are recognised by their form, the others are cleaned.
"""

from __future__ import annotations

import re

from worker.runtimes import failures

MAX_CHARS = 500
# Form of the text -> our sentence; the groups of the form by their number.
_KNOWN = (
    (
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        "it has ONNX IR version {0}, onnxruntime {version} reads up to {1}: save it with an "
        "older onnx package, or install a newer onnxruntime here and on the workers",
    ),
    (
        r"Opset (\d+) is under development.*domain (\S+) is till opset (\d+)",
        "it uses opset {0} of {1}, onnxruntime {version} offers up to {2}: export it with "
        "opset_version={2}, or install a newer onnxruntime here and on the workers",
    ),
    (
        r"(\S+?)\(-?\d+\) is not a registered function/op",
        "operator {0} is not one of onnxruntime {version}: export the model without it, since "
        "custom operators are not supported",
    ),
    (
        r"No Op registered for (\S+) with domain_version of (\d+)",
        "operator {0} is not in opset {1} as onnxruntime {version} knows it: export the model with "
        "another opset_version, or without the operator",
    ),
    (
        r"In Node, \(\"[^\"]*\", (\S+), .*No opset import for domain '([^']*)'",
        "operator {0} is of the domain {1!r}, for which the model imports no opset: export it "
        "again",
    ),
    (
        r"Could not find an implementation for (\S+) node with name '([^']*)'",
        "operator {0} (node {1!r}) is not implemented in onnxruntime {version} for these types: "
        "export the model with other types, or with another opset_version",
    ),
    (
        r"Type '([^']*)' of (?:input|output) parameter \(([^)]*)\) of operator \(([^)]*)\)",
        "operator {2} does not take {0} ({1!r})",
    ),
    (
        r"Type parameter \([^)]*\) of Optype \(([^)]*)\) bound to different types "
        r"\((\S+) and (\S+) in node",
        "operator {0} takes both {1} and {2}, which must be the same type",
    ),
    (r"Protobuf parsing failed|^ModelProto does not have a graph", "it is not an ONNX model"),
    (r"No graph was found in the protobuf", "it is not an ONNX model: it contains no graph"),
    (
        r"External data path does not exist: \"(?:[^\"]*/)?([^\"/]*)\"",
        "its external data {0!r} is missing",
    ),
    (
        r"External data path: \"([^\"]*)\" resolved path:",
        "its external data {0!r} lies outside the model's folder",
    ),
    (r"Absolute path not allowed for (external data) location", "its {0} has an absolute path"),
)
_FORMS = [(re.compile(form, re.DOTALL), text) for form, text in _KNOWN]
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .*? failed:")
_PLACE = re.compile(
    r"\S*onnxruntime\S*\.(?:cc|h|cpp):\d+ (?:[^()]*\(.*?\) (?:const )?)?|\w+\.cc:\d+ \w+ "
)


def explain(error: BaseException) -> str:
    """The reason in one or two sentences, at most 500 characters, cut between words."""
    text = str(error)
    for form, sentence in _FORMS:
        if found := form.search(text):
            return _cut(sentence.format(*found.groups(), version=_version()))
    cleaned = _PLACE.sub("", _PREFIX.sub("", text)).strip()
    return _cut(failures.PATH.sub("<path>", " ".join(cleaned.split())) or type(error).__name__)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 3].rsplit(" ", 1)[0] + "..."


def _version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
