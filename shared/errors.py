"""Every error that crosses a process or a door, as one tree.

    WarmrouteError
    ├── InvalidInput          the caller sent something that cannot be served
    │   ├── TooLarge          a body or count over a stated limit
    │   ├── TooSlow           the client took too long to send it
    │   ├── KeyReused         an idempotency key that was used for another payload
    │   ├── ForeignOrigin     a web page of another origin made the call
    │   ├── WrongMediaType    a body that is not of the content type that the path takes
    │   └── UnsupportedInput  well formed, but this server does not offer it
    ├── NotFound              no such model, version or request
    │   └── Gone              it has ended, and its outcome is no longer kept
    ├── Conflict              the request is in a state that forbids this
    ├── Overloaded            a queue is full: retry later
    ├── Unavailable           Redis, the repository or the fleet cannot answer now
    │   ├── Quarantined       the model version crashed workers repeatedly
    │   └── OutcomeUnknown    Redis's answer was lost: the call may have been carried out
    ├── Expired               the deadline passed first
    ├── Cancelled             the caller cancelled the request
    ├── ModelFailed           the model raised, or returned something that is not a tensor
    │   └── DeadLettered      workers died over this request, as often as is allowed
    ├── Undeliverable         the outcome could not be brought to Redis
    ├── OutOfMemory           the device has no memory for this request, even alone
    ├── DoesNotFit            models that are to be in memory together do not fit
    ├── LoadFailed            the model cannot be loaded
    │   ├── Untrusted         its format can run code and the operator did not allow that
    │   ├── InsufficientMemory no worker's budget can ever hold it
    │   └── RepositoryError
    │       ├── BlobMissing       a file or manifest is not there
    │       ├── Forbidden         the store refused the credentials, or we its certificate
    │       ├── ChangedMeanwhile  the object changed while it was read
    │       ├── Corrupt           size, hash or manifest is wrong
    │       ├── StoreUnavailable  the store does not answer (retries failed too)
    │       └── DiskFull          the disk of the local cache is full
    └── ConfigError           the settings are wrong: the process does not start

`code` travels over Redis and is turned into an HTTP status in one table
(`router/rest/error_responses.py`). `retryable` says whether the same request may succeed later.
A message names the field and the limit, never a path, a host or a secret.
"""

from __future__ import annotations


class WarmrouteError(Exception):
    """Root of the tree. `code` is stable, the message is for people. Where it ended a request:
    `request_id` and `ref`, the `worker` it was on, and whether its line in the log is `traced` by
    others."""

    code = "internal"
    retryable = False
    request_id = ref = worker = ""
    traced = False

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class InvalidInput(WarmrouteError):
    code = "invalid"


class TooLarge(InvalidInput):
    code = "too_large"


class TooSlow(InvalidInput):
    code = "too_slow"


class ForeignOrigin(InvalidInput):
    code = "foreign_origin"


class WrongMediaType(InvalidInput):
    code = "wrong_media_type"


class UnsupportedInput(InvalidInput):
    code = "unsupported"


class KeyReused(InvalidInput):
    code = "key_reused"


class NotFound(WarmrouteError):
    code = "not_found"


class Gone(NotFound):
    code = "gone"


class Conflict(WarmrouteError):
    code = "conflict"


class Overloaded(WarmrouteError):
    code = "overloaded"
    retryable = True


class Unavailable(WarmrouteError):
    code = "unavailable"
    retryable = True


class Quarantined(Unavailable):
    code = "quarantined"


class OutcomeUnknown(Unavailable):
    code = "outcome_unknown"


class Expired(WarmrouteError):
    code = "expired"
    retryable = True


class Cancelled(WarmrouteError):
    code = "cancelled"


class ModelFailed(WarmrouteError):
    code = "model_failed"


class DeadLettered(ModelFailed):
    code = "dead_lettered"


class Undeliverable(WarmrouteError):
    # Not retryable: the next outcome would be as large, and the line as slow.
    code = "undeliverable"


class OutOfMemory(WarmrouteError):
    # Not retryable: a retry would have other models evicted for it again and again.
    code = "out_of_memory"


class DoesNotFit(WarmrouteError):
    # Not retryable: what others have pinned may stay for a day, until a time that is not known.
    code = "does_not_fit"


class LoadFailed(WarmrouteError):
    code = "load_failed"


class Untrusted(LoadFailed):
    code = "untrusted"


class InsufficientMemory(LoadFailed):
    """`too_large`: for all of the budget, so no worker without a larger one is asked."""

    code = "insufficient_memory"
    too_large = False


class RepositoryError(LoadFailed):
    code = "repository"


class BlobMissing(RepositoryError):
    code = "blob_missing"


class Forbidden(RepositoryError):
    code = "forbidden"


class ChangedMeanwhile(RepositoryError):
    code = "changed_meanwhile"
    retryable = True


class Corrupt(RepositoryError):
    """`in_store`: proved by reading it from the store again, so it fails for all workers."""

    code = "corrupt"
    in_store = False


class StoreUnavailable(RepositoryError):
    code = "store_unavailable"
    retryable = True


class DiskFull(RepositoryError):
    code = "disk_full"
    retryable = True


class ConfigError(WarmrouteError):
    code = "config"


def _tree(root: type[WarmrouteError]) -> dict[str, type[WarmrouteError]]:
    """Code -> class. A class without a code of its own travels as the class above it."""
    found = {root.code: root} if "code" in vars(root) else {}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


def from_code(code: str, message: str) -> WarmrouteError:
    """Rebuild an error that travelled as `code` and `message`; unknown codes become the root."""
    return _tree(WarmrouteError).get(code, WarmrouteError)(message)
