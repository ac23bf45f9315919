"""The pool's numbers are the sum of its processes', of those that have ended too."""

import orjson

from app.telemetry.metrics import State, read_state
from worker.metrics import PoolMetrics, WorkerMetrics


def told(*, done: int, reclaimed: int = 0, retries: int = 0) -> State:
    """What a process with that many answers tells."""
    metrics = WorkerMetrics()
    metrics.jobs.follow(done, "done")
    metrics.count_batch([0.001] * max(done, 1), 0.003)
    metrics.reclaimed.inc(by=reclaimed)
    metrics.retries.inc(by=retries)
    metrics.set_models({"champion": "3"}, ["candidate"], is_ready=True, is_away=False)
    metrics.set_memory(1e8)
    return metrics.registry.state()


def lines(metrics: PoolMetrics) -> set[str]:
    return set(metrics.text()[0].decode().splitlines())


def test_processes_add_up() -> None:
    found = lines(PoolMetrics([told(done=3), told(done=4)]))
    assert {'worker_jobs_total{result="done"} 7.0', 'worker_models_held{alias="champion",version="3"} 2.0'} <= found
    assert {"worker_processes_ready 2.0", "worker_memory_bytes 200000000.0", "worker_batch_jobs_sum 7.0"} <= found
    assert 'worker_models_refused{alias="candidate"} 2.0' in found


def test_totals_never_fall_when_a_process_ends() -> None:
    found = lines(PoolMetrics([told(done=3)], ended=[told(done=4)]))
    assert {'worker_jobs_total{result="done"} 7.0', "worker_queue_wait_seconds_count 7.0"} <= found
    assert {"worker_processes_ready 1.0", "worker_memory_bytes 100000000.0"} <= found


def test_what_is_taken_up_beyond_the_retries_was_left_behind() -> None:
    found = lines(PoolMetrics([told(done=1, reclaimed=5), told(done=1, retries=2)]))
    assert {"worker_lease_recoveries_total 3.0", "worker_retries_total 2.0"} <= found


def test_state_survives_json() -> None:
    state = told(done=2)
    again = read_state(orjson.dumps(state))
    assert lines(PoolMetrics([again])) >= {'worker_jobs_total{result="done"} 2.0', "worker_batch_jobs_count 1.0"}
