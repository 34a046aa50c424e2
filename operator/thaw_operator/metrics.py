"""Prometheus metrics of the operator. Nothing of single trials, no names of jobs."""

from collections import Counter as Counts

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from thaw_operator.observed import Key


class Metrics:
    """What the operator counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._phases: dict[Key, str] = {}
        self._seconds = Histogram(
            "thaw_reconcile_duration_seconds", "Seconds of a pass over a job.", ["outcome"], registry=registry
        )
        self._requests = Counter(
            "thaw_api_requests_total", "Requests to the apiserver.", ["verb", "kind", "code"], registry=registry
        )
        self._jobs = Gauge("thaw_jobs", "Jobs by phase.", ["phase"], registry=registry)

    def reconciled(self, outcome: str, seconds: float) -> None:
        """Notes a pass: unchanged, written, changed (somebody else was quicker), gone or error."""
        self._seconds.labels(outcome).observe(seconds)

    def requested(self, verb: str, kind: str, code: int) -> None:
        """Notes a request and the status of its answer."""
        self._requests.labels(verb, kind, str(code)).inc()

    def phase(self, key: Key, phase: str) -> None:
        """Notes where a job stands."""
        if self._phases.get(key) != phase:
            self._phases[key] = phase
            self._show()

    def forget(self, key: Key) -> None:
        """Notes that a job is gone."""
        if self._phases.pop(key, None) is not None:
            self._show()

    def _show(self) -> None:
        self._jobs.clear()
        for phase, count in Counts(self._phases.values()).items():
            self._jobs.labels(phase).set(count)
