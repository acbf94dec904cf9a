"""What the server measures, for Prometheus."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..work import ModelStatistics

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

_GAUGES = {
    "queue": "Requests that wait for a model",
    "running": "Requests that are computed now",
    "memory": "Bytes of the weights in memory",
}
_COUNTERS = {
    "batches": "Batches computed",
    "items": "Requests computed in batches: divided by the batches, their size",
    "tokens": "Words written: the rate is the speed",
    "seconds": "Seconds of computing",
}
"""Fields of `ModelStatistics`, and what they are."""


class Metrics:
    """The measurements of one application: those of requests, and what the engine says of its models.

    Args:
        statistics: What the engine says, by model.
    """

    def __init__(self, statistics: Callable[[], Mapping[str, ModelStatistics]]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "multiattn_requests", "Requests that are over", ("path", "method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "multiattn_request_seconds", "Seconds of a request", ("path",), buckets=_SECONDS, registry=self._registry
        )
        self._in_flight = Gauge("multiattn_requests_in_flight", "Requests under way", registry=self._registry)
        self._registry.register(_Models(statistics))

    def request(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = method if method in ("GET", "HEAD", "POST", "OPTIONS") else "other"
        self._requests.labels(path, known, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def in_flight(self) -> AbstractContextManager[None]:
        """Count a request as under way in the body."""
        return self._in_flight.track_inprogress()

    def text(self) -> bytes:
        """Return all measurements as Prometheus reads them."""
        return generate_latest(self._registry)


class _Models(Collector):
    """What the engine says of its models, asked for when the measurements are."""

    def __init__(self, statistics: Callable[[], Mapping[str, ModelStatistics]]) -> None:
        self._statistics = statistics

    def describe(self) -> list[Metric]:
        """Return nothing: the engine is not asked before it has started."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the measurements."""
        found = {name: vars(one) for name, one in self._statistics().items()}
        for name, about in _GAUGES.items():
            gauge = GaugeMetricFamily(f"multiattn_model_{name}", about, labels=("model",))
            for model, values in found.items():
                gauge.add_metric((model,), values[name])
            yield gauge
        for name, about in _COUNTERS.items():
            counter = CounterMetricFamily(f"multiattn_model_{name}", about, labels=("model",))
            for model, values in found.items():
                counter.add_metric((model,), values[name])
            yield counter
