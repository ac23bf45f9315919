"""Metrics that no label value can break or forge."""

import numpy as np
import pytest
from aioprometheus.histogram import Histogram as Buckets
from hypothesis import given
from hypothesis import strategies as st

from app.telemetry.metrics import OTHER, SERIES, Counter, Gauge, Histogram, MetricsRegistry


def lines(registry: MetricsRegistry) -> list[str]:
    body, media_type = registry.text()
    assert media_type.startswith("text/plain; version=0.0.4")
    return body.decode().splitlines()


@pytest.fixture
def registry() -> MetricsRegistry:
    return MetricsRegistry()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('a"} 1\nforged_total 9', r"a\"} 1\nforged_total 9"),
        ("back\\slash", r"back\\slash"),
        ("\\", r"\\"),
        ("ünïcode ✓", "ünïcode ✓"),
        ("lone \udcff surrogate", "lone ? surrogate"),
        ("x" * 500, "x" * 120),
        ("", ""),
    ],
)
def test_label_values_are_escaped(registry: MetricsRegistry, value: str, written: str) -> None:
    Counter(registry, "asked_total", "Asked.", ("what",)).inc(value)
    assert lines(registry) == [
        "# HELP asked_total Asked.",
        "# TYPE asked_total counter",
        f'asked_total{{what="{written}"}} 1.0',
    ]


def test_numbers_of_numpy_are_numbers(registry: MetricsRegistry) -> None:
    gauge = Gauge(registry, "share", "A share.")
    gauge.set(np.float32(0.5))
    Histogram(registry, "size", "A size.", bounds=(1, 2)).observe(np.int64(2))
    assert "share 0.5" in lines(registry)
    assert 'size_bucket{le="2.0"} 1.0' in lines(registry)


def test_counters_count_and_gauges_forget(registry: MetricsRegistry) -> None:
    counter, gauge = Counter(registry, "a_total", "A.", ("of",)), Gauge(registry, "b", "B.", ("of",))
    for _ in range(3):
        counter.inc("x")
    counter.inc("y", by=2.5)
    gauge.set(1, "x")
    gauge.set(None, "x")
    gauge.set(None, "never set")
    gauge.set(7, "y")
    assert {'a_total{of="x"} 3.0', 'a_total{of="y"} 2.5', 'b{of="y"} 7.0'} <= set(lines(registry))
    assert not any('b{of="x"}' in line for line in lines(registry))
    gauge.clear()
    assert not any(line.startswith("b{") for line in lines(registry))


def test_what_only_grows_begins_at_nought_and_what_nobody_set_is_unknown(registry: MetricsRegistry) -> None:
    Counter(registry, "a_total", "A.")
    Gauge(registry, "b", "B.")
    Histogram(registry, "c_seconds", "C.", bounds=(1,))
    assert {"a_total 0.0", "c_seconds_count 0.0"} <= set(lines(registry))
    assert not any(line.startswith("b ") for line in lines(registry))


def test_wrong_number_of_labels_is_a_bug_of_ours(registry: MetricsRegistry) -> None:
    with pytest.raises(ValueError, match="has the labels"):
        Counter(registry, "a_total", "A.", ("of",)).inc()


def test_series_of_one_metric_are_bounded(registry: MetricsRegistry) -> None:
    counter = Counter(registry, "a_total", "A.", ("of",))
    for n in range(SERIES + 500):
        counter.inc(str(n))
    assert len(lines(registry)) == SERIES + 3
    assert f'a_total{{of="{OTHER}"}} 500.0' in lines(registry)


def test_states_of_processes_add_up() -> None:
    registries = [MetricsRegistry() for _ in range(3)]
    for n, registry in enumerate(registries):
        counter = Counter(registry, "a_total", "A.", ("of",))
        histogram = Histogram(registry, "b_seconds", "B.", bounds=(0.1, 1))
        if n:
            counter.inc("x", by=n)
            histogram.observe(0.05 * n)
            histogram.observe(2)
    for other in registries[1:]:
        registries[0].add(other.state())
    assert {'a_total{of="x"} 3.0', 'b_seconds_bucket{le="0.1"} 2.0', "b_seconds_count 4.0"} <= set(lines(registries[0]))
    assert 'b_seconds_bucket{le="+Inf"} 4.0' in lines(registries[0])


@given(st.lists(st.floats(-1, 20) | st.sampled_from([0.1, 1.0, 5.0]), max_size=60), st.integers(0, 60))
def test_buckets_are_those_of_aioprometheus(values: list[float], split: int) -> None:
    """Found by bisection and added up from two processes, they are what its own loop over the bounds counts."""
    bounds = (0.1, 1.0, 5.0)
    registries = MetricsRegistry(), MetricsRegistry()
    histograms = [Histogram(registry, "b_seconds", "B.", bounds=bounds) for registry in registries]
    oracle = Buckets(*bounds)
    for place, value in enumerate(values):
        histograms[place < split].observe(value)
        oracle.observe(value)
    registries[0].add(registries[1].state())
    found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines(registries[0]) if line[0] != "#"}
    for bound, count in oracle.buckets.items():
        assert found[f'b_seconds_bucket{{le="{"+Inf" if bound == float("inf") else bound}"}}'] == count
    assert found["b_seconds_count"] == len(values)
    assert found["b_seconds_sum"] == pytest.approx(oracle.sum)
