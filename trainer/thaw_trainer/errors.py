"""The trainer's errors: each has a reason (one CamelCase word that reaches the resource's conditions), a cause
(whose error it is, which decides whether trying again can help) and the field that it is about."""

from typing import Any, Literal

Cause = Literal["user", "infrastructure"]

DATA_NOT_FOUND = "DataNotFound"
DATA_UNREADABLE = "DataUnreadable"
COLUMN_NOT_FOUND = "ColumnNotFound"
DATA_INVALID = "DataInvalid"
SPLIT_INVALID = "SplitInvalid"
MODEL_NOT_FOUND = "ModelNotFound"
MODEL_UNREADABLE = "ModelUnreadable"
MODEL_NOT_DIVISIBLE = "ModelNotDivisible"
SELECTOR_MATCHES_NOTHING = "SelectorMatchesNothing"
NOTHING_TO_TRAIN = "NothingToTrain"
SCHEDULE_INVALID = "ScheduleInvalid"
WARM_START_INVALID = "WarmStartInvalid"
TRIAL_SPEC_INVALID = "TrialSpecInvalid"
LOSS_NOT_FINITE = "LossNotFinite"
OUT_OF_MEMORY = "OutOfMemory"
COMPILE_FAILED = "CompileFailed"
WORKER_LOST = "WorkerLost"
TRIAL_ERROR = "TrialError"
ALL_TRIALS_FAILED = "AllTrialsFailed"
BELOW_THRESHOLD = "BelowThreshold"
SLOTS_NOT_READY = "SlotsNotReady"
OUTPUT_NOT_WRITABLE = "OutputNotWritable"
OUTPUT_OF_ANOTHER_JOB = "OutputOfAnotherJob"
NOT_ENOUGH_CORES = "NotEnoughCores"
PREFIX_NOT_CACHEABLE = "PrefixNotCacheable"
LIBRARY_MISSING = "LibraryMissing"
DRIVER_ERROR = "DriverError"


class TrainerError(Exception):
    """An error with its reason, field and cause; survives pickling between processes."""

    def __init__(self, reason: str, message: str, field: str = "", cause: Cause = "user") -> None:
        super().__init__(reason, message, field, cause)
        self.reason, self.message, self.field, self.cause = reason, message, field, cause

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message

    def as_dict(self) -> dict[str, Any]:
        """The error as it stands in result.json and in the journal."""
        return {"reason": self.reason, "message": str(self), "cause": self.cause}


def error_of(failure: dict[str, Any]) -> TrainerError:
    """The inverse of `as_dict`; the field is part of the message by then."""
    return TrainerError(failure["reason"], failure["message"], cause=failure["cause"])
