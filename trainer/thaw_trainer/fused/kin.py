"""Which trials may share a step: those that differ in nothing but what acts on each trial's own tensors."""

from typing import Any

from thaw_api.job import FineTuneJobSpec
from thaw_api.tasks import TASKS
from thaw_trainer.data.store import digest

MOST_IN_A_STEP = 16
"""Trials that share a step at most."""

_OWN = {"lr", "weightDecay", "betas", "eps", "momentum"}
"""Settings of the optimizer: each trial has its own."""
_OWN_PATHS = {f"training.optimizer.{name}" for name in _OWN} | {"freezing.lr.base"}


def shares_steps(spec: FineTuneJobSpec) -> bool:
    """Whether a search's trials can be expected to share steps, as far as the manifest alone tells."""
    freezing = spec.freezing
    head_only = freezing.preset == "head-only" or [phase.train for phase in freezing.phases or ()] == [["head"]]
    cached = (freezing.cache is None or freezing.cache.mode != "never") and freezing.frozen_dropout == "off"
    known_ahead = spec.search.algorithm.name != "tpe" and spec.cluster.workers_per_trial == 1
    averages = spec.training.regularization.ema_decay > 0
    kin = all(parameter.path in _OWN_PATHS for parameter in spec.search.parameters or ())
    return TASKS[spec.task].shares_steps and head_only and cached and known_ahead and kin and not averages


def kinship(spec: FineTuneJobSpec) -> str:
    """Equal for trials that may share a step: the same rows, batches, schedule, seed and losses."""
    manifest = spec.manifest()
    training: dict[str, Any] = dict(manifest.get("training", {}))
    optimizer = {key: value for key, value in training.pop("optimizer", {}).items() if key not in _OWN}
    freezing: dict[str, Any] = dict(manifest.get("freezing", {}))
    freezing.pop("lr", None)
    freezing["phases"] = [
        {key: value for key, value in phase.items() if key != "lr"} for phase in freezing.pop("phases", None) or []
    ]
    rest = {key: manifest.get(key) for key in ("task", "model", "data", "search", "cluster")}
    return digest(rest, training, optimizer, freezing)
