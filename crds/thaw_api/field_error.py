"""What is wrong with a manifest, each error with the path of its field."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One error: where, what is wrong, and what would be right."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidManifest(Exception):
    """The manifest cannot be run; `errors` lists everything that is wrong with it."""

    reason = "InvalidManifest"

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors
