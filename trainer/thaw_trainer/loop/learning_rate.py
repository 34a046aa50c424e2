"""The learning rate as a pure function of the step, so that a resumed run needs no scheduler's state."""

from math import cos, pi

from thaw_api.training import ScheduleSpec


def rate_factor(schedule: ScheduleSpec, step: int, steps: int) -> float:
    """What the peak rate is multiplied by in step `step` (from 0) of a span of `steps` steps.

    Warm-up climbs linearly and reaches 1 in its last step; linear and cosine then fall towards 0, which the step
    after the span's last would have.
    """
    warmup = round(schedule.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    if schedule.name == "linear":
        return max(0.0, 1.0 - done)
    if schedule.name == "cosine":
        return 0.5 * (1.0 + cos(pi * min(1.0, done)))
    return 1.0
