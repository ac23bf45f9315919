"""Every expected failure, one class each: the status and title that a client sees; its code is the name in kebab case.

`InvalidRequest` is 422 with the code `invalid-request`. A handler raises one of these, a route lists those it may
raise, and `app.api.problems` writes them.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

_WORD = re.compile(r"(?<!^)(?=[A-Z])")


class ServiceError(Exception):
    """A failure we expect: `detail` is for people, `extras` for programs."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "service-error"
    title: ClassVar[str] = "Service error"

    def __init_subclass__(cls, *, status: int, title: str) -> None:
        cls.status, cls.title, cls.code = status, title, _WORD.sub("-", cls.__name__).lower()

    def __init__(self, detail: str, *, retry_after_s: float | None = None, **extras: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.extras: Mapping[str, Any] = extras


class InvalidRequest(ServiceError, status=422, title="The request does not fit the schema"):
    """The request does not fit the schema."""


class KeyMissing(ServiceError, status=401, title="An API key is needed"):
    """No API key was shown."""


class KeyInvalid(ServiceError, status=401, title="The API key is not good"):
    """The API key is unknown, revoked or expired."""


class ScopeMissing(ServiceError, status=403, title="The API key lacks a scope"):
    """The API key may not do this; `scope` in the extras names what it lacks."""


class RateLimited(ServiceError, status=429, title="Too many requests"):
    """The caller asks too often."""


class OriginRefused(ServiceError, status=403, title="A page of another origin may not send this request"):
    """A page of another origin may not send this request."""


class HostUnknown(ServiceError, status=421, title="This service does not answer to that host"):
    """The request names a host that this service does not answer to."""


class AsOfUnknown(ServiceError, status=422, title="What was known at that time cannot be told"):
    """Nobody can say yet, or ever, what was known at that time."""


class MatchNotFound(ServiceError, status=404, title="No such match in the current snapshot"):
    """The current snapshot has no such match."""

    @classmethod
    def for_match(cls, match_id: int) -> "MatchNotFound":
        """The error for one match id."""
        return cls(f"No match {match_id} in the current snapshot.", match_id=match_id)


class TaskNotFound(ServiceError, status=404, title="No such task, or its result has expired"):
    """No such task, or its result has expired."""


class TaskBusy(ServiceError, status=409, title="The task cannot be withdrawn any more"):
    """The task is running or done, or another caller wants it too."""


class ModelNotFound(ServiceError, status=404, title="No worker holds a model under that alias"):
    """No worker holds a model under that alias."""


class PromotionRefused(ServiceError, status=409, title="The version may not take the alias"):
    """The version has not passed what a promotion asks for, or workers would not serve it; `objections` says why."""


class PromotionUnconfirmed(ServiceError, status=504, title="Nobody knows yet whether the alias has moved"):
    """No worker has said in time that the alias has moved."""


class FeaturesMissing(ServiceError, status=409, title="The match has no feature row"):
    """The match has no feature row."""


class FeaturesLoading(ServiceError, status=503, title="The feature rows are being loaded"):
    """The feature rows of the current snapshot are being loaded."""


class FeaturesMismatch(ServiceError, status=409, title="The features do not fit the model's signature"):
    """The feature row does not fit the model's signature."""


class ExplanationUnavailable(ServiceError, status=422, title="The model cannot explain its predictions"):
    """The model cannot explain itself."""


class PredictionFailed(ServiceError, status=500, title="The worker could not compute the prediction"):
    """The worker could not compute the prediction."""


class PredictionTimeout(ServiceError, status=504, title="No prediction within the deadline"):
    """No answer within the deadline; the task can still be polled."""


class QueryTimeout(ServiceError, status=504, title="The query ran past its deadline"):
    """A query ran past its deadline and was interrupted."""


class QueryQueueFull(ServiceError, status=503, title="Too many queries are waiting"):
    """More queries are waiting than the limit allows."""


class FeedFull(ServiceError, status=503, title="Too many clients listen to the change feed"):
    """As many clients listen to the change feed as the limit allows."""


class QueueFull(ServiceError, status=503, title="The queue is full"):
    """More work is waiting than the limit allows."""


class QueueUnavailable(ServiceError, status=503, title="The queue cannot be reached"):
    """Redis cannot be reached."""


class NoWorker(ServiceError, status=503, title="No worker is alive"):
    """No worker is alive to do the work."""


class LedgerUnavailable(ServiceError, status=503, title="The ledger's database cannot be reached"):
    """The ledger's database cannot be reached."""


class SqlOff(ServiceError, status=403, title="This service takes no SQL"):
    """This service takes no SQL."""


class SqlRejected(ServiceError, status=422, title="The SQL cannot be run"):
    """The SQL is no query that DuckDB can or may run."""


class SqlTooLarge(ServiceError, status=422, title="The query takes or gives too much"):
    """The query takes more memory, or gives more rows or bytes, than is allowed."""


class SqlTimeout(ServiceError, status=504, title="The SQL ran past its deadline"):
    """The query ran past its deadline, and its process was killed."""


class SqlBusy(ServiceError, status=503, title="Too much SQL at once"):
    """As many queries run as may, or the snapshot is still being made ready for them."""


class ReportMissing(ServiceError, status=404, title="The report has not been made yet"):
    """The report has not been made yet."""


class SnapshotUnavailable(ServiceError, status=503, title="No snapshot of the artifacts is open"):
    """No snapshot of the artifacts could be opened yet."""
