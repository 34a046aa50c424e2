"""What an HTTP status of the apiserver means for a report."""

from collections.abc import Mapping

from thaw_trainer.cluster.pacing import Answer, Outcome

_TOO_MANY, _NOT_FOUND, _TIMEOUT = 429, 404, 408


def outcome_of(status: int, message: str, headers: Mapping[str, str]) -> Outcome:
    """The outcome of a refused write.

    Args:
        status: the HTTP status; 0 when there was no answer.
        headers: of the answer; `Retry-After` is heeded.
    """
    told = f"HTTP {status}: {message}"
    if status == _NOT_FOUND:
        return Outcome(Answer.GONE, told)
    if status in (0, _TIMEOUT, _TOO_MANY) or status >= 500:
        wanted = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
        return Outcome(Answer.RETRY, told, float(wanted) if wanted.isascii() and wanted.isdigit() else 0.0)
    return Outcome(Answer.DROPPED, told)
