"""The tree of expected failures, each with the status, code and title a client sees.

ServiceError
├── InvalidRequest          422  invalid-request
├── KeyMissing              401  key-missing
├── KeyInvalid              401  key-invalid
├── ScopeMissing            403  scope-missing
├── RateLimited             429  rate-limited
├── AsOfUnknown             422  as-of-unknown
├── MatchNotFound           404  match-not-found
├── TaskNotFound            404  task-not-found
├── TaskBusy                409  task-busy
├── ModelNotFound           404  model-not-found
├── FeaturesMissing         409  features-missing
├── FeaturesMismatch        409  features-mismatch
├── ExplanationUnavailable  422  explanation-unavailable
├── PredictionFailed        500  prediction-failed
├── PredictionTimeout       504  prediction-timeout
├── QueryTimeout            504  query-timeout
├── QueryQueueFull          503  query-queue-full
├── FeedFull                503  feed-full
├── QueueFull               503  queue-full
├── QueueUnavailable        503  queue-unavailable
├── NoWorker                503  no-worker
├── LedgerUnavailable       503  ledger-unavailable
├── SqlOff                  403  sql-off
├── SqlRejected             422  sql-rejected
├── SqlTooLarge             422  sql-too-large
├── SqlTimeout              504  sql-timeout
├── SqlBusy                 503  sql-busy
├── ReportMissing           404  report-missing
└── SnapshotUnavailable     503  snapshot-unavailable
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class ServiceError(Exception):
    """A failure we expect: `detail` is for people, `extras` for programs."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "service-error"
    title: ClassVar[str] = "Service error"

    def __init__(self, detail: str, *, retry_after_s: float | None = None, **extras: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.extras: Mapping[str, Any] = extras


class InvalidRequest(ServiceError):
    """The request does not fit the schema."""

    status, code, title = 422, "invalid-request", "The request does not fit the schema"


class KeyMissing(ServiceError):
    """No API key was shown."""

    status, code, title = 401, "key-missing", "An API key is needed"


class KeyInvalid(ServiceError):
    """The API key is unknown, revoked or expired."""

    status, code, title = 401, "key-invalid", "The API key is not good"


class ScopeMissing(ServiceError):
    """The API key may not do this; `scope` in the extras names what it lacks."""

    status, code, title = 403, "scope-missing", "The API key lacks a scope"


class RateLimited(ServiceError):
    """The caller asks too often."""

    status, code, title = 429, "rate-limited", "Too many requests"


class AsOfUnknown(ServiceError):
    """Nobody can say yet, or ever, what was known at that time."""

    status, code, title = 422, "as-of-unknown", "What was known at that time cannot be told"


class MatchNotFound(ServiceError):
    """The current snapshot has no such match."""

    status, code, title = 404, "match-not-found", "No such match in the current snapshot"

    @classmethod
    def of(cls, match_id: int) -> "MatchNotFound":
        """The error for one match id."""
        return cls(f"No match {match_id} in the current snapshot.", match_id=match_id)


class TaskNotFound(ServiceError):
    """No such task, or its result has expired."""

    status, code, title = 404, "task-not-found", "No such task, or its result has expired"


class TaskBusy(ServiceError):
    """The task is running or done, or another caller wants it too."""

    status, code, title = 409, "task-busy", "The task cannot be withdrawn any more"


class ModelNotFound(ServiceError):
    """No worker holds a model under that alias."""

    status, code, title = 404, "model-not-found", "No worker holds a model under that alias"


class FeaturesMissing(ServiceError):
    """The match has no feature row."""

    status, code, title = 409, "features-missing", "The match has no feature row"


class FeaturesLoading(ServiceError):
    """The feature rows of the current snapshot are being loaded."""

    status, code, title = 503, "features-loading", "The feature rows are being loaded"


class FeaturesMismatch(ServiceError):
    """The feature row does not fit the model's signature."""

    status, code, title = 409, "features-mismatch", "The features do not fit the model's signature"


class ExplanationUnavailable(ServiceError):
    """The model cannot explain itself."""

    status, code, title = 422, "explanation-unavailable", "The model cannot explain its predictions"


class PredictionFailed(ServiceError):
    """The worker could not compute the prediction."""

    status, code, title = 500, "prediction-failed", "The worker could not compute the prediction"


class PredictionTimeout(ServiceError):
    """No answer within the deadline; the task can still be polled."""

    status, code, title = 504, "prediction-timeout", "No prediction within the deadline"


class QueryTimeout(ServiceError):
    """A query ran past its deadline and was interrupted."""

    status, code, title = 504, "query-timeout", "The query ran past its deadline"


class QueryQueueFull(ServiceError):
    """More queries are waiting than the limit allows."""

    status, code, title = 503, "query-queue-full", "Too many queries are waiting"


class FeedFull(ServiceError):
    """As many clients listen to the change feed as the limit allows."""

    status, code, title = 503, "feed-full", "Too many clients listen to the change feed"


class QueueFull(ServiceError):
    """More work is waiting than the limit allows."""

    status, code, title = 503, "queue-full", "The queue is full"


class QueueUnavailable(ServiceError):
    """Redis cannot be reached."""

    status, code, title = 503, "queue-unavailable", "The queue cannot be reached"


class NoWorker(ServiceError):
    """No worker is alive to do the work."""

    status, code, title = 503, "no-worker", "No worker is alive"


class LedgerUnavailable(ServiceError):
    """The ledger's database cannot be reached."""

    status, code, title = 503, "ledger-unavailable", "The ledger's database cannot be reached"


class SqlOff(ServiceError):
    """This service takes no SQL."""

    status, code, title = 403, "sql-off", "This service takes no SQL"


class SqlRejected(ServiceError):
    """The SQL is no query that DuckDB can or may run."""

    status, code, title = 422, "sql-rejected", "The SQL cannot be run"


class SqlTooLarge(ServiceError):
    """The query takes more memory, or gives more rows or bytes, than is allowed."""

    status, code, title = 422, "sql-too-large", "The query takes or gives too much"


class SqlTimeout(ServiceError):
    """The query ran past its deadline, and its process was killed."""

    status, code, title = 504, "sql-timeout", "The SQL ran past its deadline"


class SqlBusy(ServiceError):
    """As many queries run as may, or the snapshot is still being made ready for them."""

    status, code, title = 503, "sql-busy", "Too much SQL at once"


class ReportMissing(ServiceError):
    """The report has not been made yet."""

    status, code, title = 404, "report-missing", "The report has not been made yet"


class SnapshotUnavailable(ServiceError):
    """No snapshot of the artifacts could be opened yet."""

    status, code, title = 503, "snapshot-unavailable", "No snapshot of the artifacts is open"
