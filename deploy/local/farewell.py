"""The last screen of `make up`: the URL, and requests to try, each of which works as printed."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from rich.console import Console
from rich.text import Text

from shared import datatypes
from warmroute.framing import Array


def write_request(folder: Path, model: str, inputs: dict[str, Array]) -> Path:
    """A V2 request as a JSON file, for `curl -d @FILE`."""
    tensors: list[dict[str, Any]] = [
        {
            "name": name,
            "datatype": datatypes.from_numpy(array.dtype),
            "shape": list(array.shape),
            "data": array.reshape(-1).tolist(),
        }
        for name, array in inputs.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model}.json"
    path.write_bytes(msgspec.json.encode({"inputs": tensors}))
    return path


def requests_to_try(
    url: str, redis_url: str, model: str, body: Path, arrays: Path, env_file: Path
) -> list[str]:
    """curl, Python and redis-cli: each a command that works as it is printed."""
    python = f"import numpy as np; from warmroute import Client; c = Client('{url}'); "
    python += f"print(c.infer('{model}', dict(np.load('{_from_here(arrays)}'))))"
    redis_cli = _redis_cli(redis_url)
    stream = f"{redis_cli} -x XADD \"{{$WARMROUTE_CELL}}:ingress\" '*' model {model}"
    stream += f" reply_to my-answers body < {_quoted(body)}"
    answer = f"{redis_cli} XREAD BLOCK 9000 STREAMS my-answers 0"
    return [
        f"curl -s {url}/v2/models/{model}/infer -d @{_quoted(body)}",
        f"{_quoted(sys.executable)} -c {_in_quotes(python)}",
        f"({sourcing(env_file)}; {stream}; {answer})",
    ]


def sourcing(env_file: Path) -> str:
    """Shell code that takes over the stack's settings; secrets stay in the file."""
    name = _quoted(env_file)
    return f"set -a; . {name if name.startswith('/') else './' + name}; set +a"


def farewell(url: str, requests: Sequence[str], env_file: Path) -> Text:
    """The last screen before the stack just stays up."""
    another = f"({sourcing(env_file)}; {_quoted(sys.executable)} -m worker)"
    screen = Text.assemble(("Ready at " + url, "bold"), "\n\nTry:\n")
    for request in requests:
        screen.append(f"  {request}\n\n", "cyan")
    screen.append("One more worker, in another terminal:\n")
    screen.append(f"  {another}\n\n", "cyan")
    return screen.append("Ctrl-C stops everything.")


def show(console: Console, screen: Text) -> None:
    """Print without cutting: a command that the terminal folds can still be copied."""
    console.print(screen, soft_wrap=True)


def _redis_cli(redis_url: str) -> str:
    """The one beside this Python, or on PATH. It does not take unix:// URLs."""
    beside = shutil.which("redis-cli", path=str(Path(sys.executable).parent))
    command = _quoted(beside) if beside else "redis-cli"
    if redis_url.startswith("unix://"):
        return f"{command} -s {shlex.quote(urlsplit(redis_url).path)}"
    return f'{command} -u "$REDIS_URL"'


def _in_quotes(code: str) -> str:
    """In double quotes, which read better around Python, unless a shell would look inside."""
    return f'"{code}"' if not set(code) & set('"$`\\!') else shlex.quote(code)


def _quoted(path: Path | str) -> str:
    return shlex.quote(str(_from_here(path)))


def _from_here(path: Path | str) -> Path:
    """Relative to the folder the command was given in, where it lies below."""
    absolute, here = Path(path).absolute(), Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute
