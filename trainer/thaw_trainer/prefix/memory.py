"""What a worker process knows of the cache, kept between trials."""

from dataclasses import dataclass, field
from pathlib import Path

from thaw_trainer.prefix.entry import Entry
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.prefix.shelf import Shelf


@dataclass(frozen=True)
class Proof:
    """Whether replay is what the model computes."""

    difference: str | None
    """The first one; None when there is none."""
    writable: bool
    """Whether stand-ins give tensors that the model may write into."""


@dataclass
class PrefixMemory:
    """What a process has found out, kept between trials."""

    root: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    """Why an entry is not used, by key."""
    proved: dict[tuple[str, frozenset[str]], Proof] = field(default_factory=dict)
    """By key and tensors that are trained."""
    shelf: Shelf | None = None
    filled_seconds: float = 0.0


@dataclass(frozen=True)
class PrefixSite:
    """What a trial is given to use the cache: its process's memory, and the job's plan."""

    memory: PrefixMemory
    plan: PrefixPlan
