"""`Client`: blocking calls, one HTTP request each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload

import httpx

from warmroute import operations
from warmroute.call import TIMEOUT_S, Call, Exchange, Flow, Send
from warmroute.errors import ClientError
from warmroute.inference import Inference, InferenceRequest, Inputs, Parameters, check_seconds
from warmroute.mapping import Errors, InferOptions, MapPlan, Outcome, Progress, map_blocking
from warmroute.operator import Operator
from warmroute.pending import Pending
from warmroute.response import Document
from warmroute.result import Result
from warmroute.sending import Sender
from warmroute.urls import default_url, read_url

T = TypeVar("T")


class Client(Operator):
    """Calls to one gateway over kept-alive connections; threads may share a client.

    Args:
        url: the gateway's address; default: WARMROUTE_URL, or port 8000 of this machine.
        timeout: seconds that a call may take, retries included, unless it has its own limit.
        retries: how often a call is made again when nothing was accepted for certain (no
            connection could be opened, or the gateway answered 429 or 503 with a Retry-After,
            which is waited for). Reads, and calls with an idempotency key, are also made again
            when their connection broke.
        connections: the most connections that are open at once.
        transport: an httpx transport of your own, for TLS settings, proxies or tests.

    Raises:
        InvalidInput: `url` is not the address of an HTTP server, or `timeout` not a time.

    Example:
        >>> with Client("http://127.0.0.1:8000") as client:
        ...     result = client.infer("mlp", {"input": np.zeros((1, 16), np.float32)})
        ...     result["output"]
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout: float = TIMEOUT_S,
        retries: int = 2,
        connections: int = 100,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = read_url(default_url() if url is None else url)
        self._exchange = Exchange(check_seconds("timeout", timeout), retries)
        self._inference = Inference(self._exchange)
        self._sender = Sender(self.url, connections, transport)

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connections."""
        self._sender.close()

    def infer(
        self, model: str, inputs: Inputs, *, version: int | None = None,
        outputs: Iterable[str] | None = None, parameters: Parameters | None = None,
        timeout: float | None = None, idempotency_key: str | None = None,
    ) -> Result:  # fmt: skip
        """Run a model on one request and wait for its outputs.

        Args:
            model: the model's name.
            inputs: the tensors by name, or the tensor alone if the model has one input: numpy
                arrays, torch tensors, numbers, text or (nested) lists, of the shapes that
                `client.model(name)` lists. Values are converted to the model's datatype only if
                each is kept; Python floats may be rounded. bfloat16 is sent as BF16.
            version: a version of the model; None runs the newest.
            outputs: names of the outputs to return; None returns all.
            parameters: the request's V2 parameters.
            timeout: seconds until the request expires at the server, and the limit of this call.
            idempotency_key: within a day the same request under the same key runs only once.

        Raises:
            InvalidInput: the tensors cannot be sent as they are given; nothing was sent.
            ServerError: the gateway refused the request or the model failed (see `errors`).
            TimedOut, ConnectionFailed, BadResponse: no outcome; the request may have run.

        Example:
            >>> client.infer("mlp", {"input": np.zeros((1, 16), np.float32)})["output"].shape
            (1, 4)
        """
        request = InferenceRequest(
            model=model, inputs=inputs, version=version, outputs=outputs, parameters=parameters,
            timeout=timeout, idempotency_key=idempotency_key,
        )  # fmt: skip
        return self._run(self._inference.infer(request))

    def submit(
        self, model: str, inputs: Inputs, *, version: int | None = None,
        outputs: Iterable[str] | None = None, parameters: Parameters | None = None,
        timeout: float | None = None, idempotency_key: str | None = None,
    ) -> Pending:  # fmt: skip
        """Hand a request over and return its handle; the request is durable on return.

        Arguments and errors as for `infer`. `timeout` is the seconds that the request may wait and
        run before it expires. Under an `idempotency_key` that was used before, the handle is that
        of the earlier request.
        """
        request = InferenceRequest(
            model=model, inputs=inputs, version=version, outputs=outputs, parameters=parameters,
            timeout=timeout, idempotency_key=idempotency_key,
        )  # fmt: skip
        return self.pending(self._run(self._inference.submit(request)))

    @overload
    def map(
        self, model: str, inputs: Iterable[Inputs], *, concurrency: int = 8,
        errors: Literal["raise"] = "raise", progress: Progress | None = None,
        **options: Unpack[InferOptions],
    ) -> Iterator[Result]: ...  # fmt: skip

    @overload
    def map(
        self, model: str, inputs: Iterable[Inputs], *, concurrency: int = 8,
        errors: Literal["return"], progress: Progress | None = None,
        **options: Unpack[InferOptions],
    ) -> Iterator[Outcome]: ...  # fmt: skip

    def map(
        self, model: str, inputs: Iterable[Inputs], *, concurrency: int = 8,
        errors: Errors = "raise", progress: Progress | None = None,
        **options: Unpack[InferOptions],
    ) -> Iterator[Any]:  # fmt: skip
        """Run a model on many requests; the results come in the order of `inputs`.

        `inputs` may be a generator of any length: it is read as results are taken.

        Args:
            inputs: one request each, as for `infer`; `options` are those of `infer`.
            concurrency: how many requests run at once.
            errors: "raise" ends at the first error; "return" puts it in place of the result.
            progress: called with (results so far, length of `inputs` or None).

        Example:
            >>> for result in client.map("mlp", batches, concurrency=16):
            ...     result["output"]
        """
        plan = MapPlan(inputs, concurrency, errors, progress)
        return map_blocking(lambda given: self.infer(model, given, **options), plan)

    def pending(self, request_id: str) -> Pending:
        """The handle of a request that was submitted before, by any process."""
        return Pending(self._run, self._exchange, request_id)

    def requests(self) -> Iterator[Document]:
        """Accepted requests that have not ended, the nearest deadline first."""
        return self._rows(operations.requests())

    def ready(self) -> bool:
        """Whether a gateway answers within 5 seconds and says that it is ready."""
        try:
            return self._call(operations.ready())
        except ClientError:
            return False

    def _call(self, call: Call[T]) -> T:
        return self._run(self._exchange(call))

    def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    response = self._take(step)
                except ClientError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(response)
        except StopIteration as end:
            value: T = end.value
            return value

    def _take(self, step: Any) -> Any:
        return self._sender.send(step) if isinstance(step, Send) else time.sleep(step.seconds)
