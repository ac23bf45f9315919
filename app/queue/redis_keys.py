"""Names of everything the live path keeps in Redis."""

from dataclasses import dataclass
from functools import cached_property

from arq.constants import (
    in_progress_key_prefix,
    job_key_prefix,
    result_key_prefix,
    retry_key_prefix,
)

# arq's own keys, unchanged, so that a stock arq worker or client can take our place
JOB = job_key_prefix
IN_PROGRESS = in_progress_key_prefix
RESULT = result_key_prefix
RETRY = retry_key_prefix

HEARTBEAT_EVERY_S = 1.0
HEARTBEAT_TTL_S = 5.0  # a worker that has not been heard of for so long counts as gone
LEASE_S = 3.0  # a killed worker's jobs are free again after this
TRY_TTL_S = 88_400  # arq's own
BATCH_MIN, BATCH_MAX = 8, 16  # a worker takes half of what waits, so that the API answers one half meanwhile
SAFETY_POLL_S = 0.5  # a lost wake-up costs at most this much
JOB_TTL_S = 86_400  # arq's own default: a job nobody took within a day is dropped
DEAD_LETTERS_MAX = 1_000
SHADOWS_MAX = 100_000  # shadow answers kept while nobody reads them, about 60 MB
PENDING_RESULTS_MAX = 100_000  # tasks waited for by nobody but the ledger, about 60 MB
FEATURES_TTL_S = 30 * 86_400
FEATURES_AGAIN_S = 3_600.0  # how often a port that lives longer than that announces them anew


@dataclass(frozen=True)
class RedisKeys:
    """Our own keys of one queue; all begin with the queue's name.

    Some values keep an older word, because processes of an older version share them.
    """

    queue: str

    @cached_property
    def wake(self) -> str:
        """Channel: there is work."""
        return f"{self.queue}:wake"

    @cached_property
    def idle(self) -> str:
        """Set: workers that have nothing in hand and wait for jobs."""
        return f"{self.queue}:idle"

    @cached_property
    def hand_over(self) -> str:
        """Begin of the names of the channels on which a waiting worker is handed jobs, each with its owner's id."""
        return f"{self.queue}:hand-over:"

    @cached_property
    def done(self) -> str:
        """Channel: answers, and news of the workers' models."""
        return f"{self.queue}:done"

    @cached_property
    def workers(self) -> str:
        """Sorted set: worker id by time of its last beat."""
        return f"{self.queue}:workers"

    def worker(self, worker_id: str) -> str:
        """Beat of one worker; expires when it stops beating."""
        return f"{self.queue}:worker:{worker_id}"

    @cached_property
    def served_versions(self) -> str:
        """Hash: alias to the version that a worker last served, for when the registry loses the alias."""
        return f"{self.queue}:served-versions"

    @cached_property
    def waiter_count(self) -> str:
        """Hash: how many callers want a waiting job."""
        return f"{self.queue}:interest"

    @cached_property
    def deadlines(self) -> str:
        """Hash: when the last caller of a waiting job gives up."""
        return f"{self.queue}:deadlines"

    @cached_property
    def dead(self) -> str:
        """Sorted set: jobs given up after too many tries, by when."""
        return f"{self.queue}:given-up"

    @cached_property
    def dead_letters(self) -> str:
        """Hash: what is kept of each job that was given up."""
        return f"{self.queue}:letters"

    @cached_property
    def shadows(self) -> str:
        """Stream: what the shadow model would have answered."""
        return f"{self.queue}:shadows"

    @cached_property
    def pending_results(self) -> str:
        """Sorted set: what the ledger must know of tasks that nobody waits for, by the time of the next look."""
        return f"{self.queue}:unheard"

    @cached_property
    def drift(self) -> str:
        """Hash: the newest drift report of a scheduled check, as data and as a page, and what came of the check."""
        return f"{self.queue}:drift"

    @cached_property
    def drift_lock(self) -> str:
        """Who checks for drift at the moment."""
        return f"{self.queue}:drift:lock"

    @cached_property
    def refresh(self) -> str:
        """What came of the last refresh of the artifacts."""
        return f"{self.queue}:refresh"

    @cached_property
    def refresh_lock(self) -> str:
        """Who refreshes the artifacts at the moment."""
        return f"{self.queue}:refresh:lock"

    @cached_property
    def rate(self) -> str:
        """Begin of the names of the callers' buckets of tokens."""
        return f"{self.queue}:rate:"

    @cached_property
    def probe(self) -> str:
        """Written every second by each API process: whether Redis takes writes."""
        return f"{self.queue}:probe"

    def features(self, feature_set: str) -> str:
        """Ordered feature names of one feature set."""
        return f"{self.queue}:features:{feature_set}"
