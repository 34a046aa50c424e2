"""Times as Kubernetes writes them: RFC 3339 in UTC, whole seconds."""

from datetime import UTC, datetime


def parse_moment(text: str) -> datetime:
    """The moment that a timestamp names."""
    return datetime.fromisoformat(text).astimezone(UTC)


def format_moment(moment: datetime) -> str:
    """A moment as metav1.Time has it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
