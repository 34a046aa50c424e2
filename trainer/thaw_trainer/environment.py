"""Settings of the libraries below, which read them from the environment; workers inherit them. Yours come first."""

import os

_ENVIRONMENT = {
    # Threads that wait for each other spin for milliseconds by default: beside any other busy process, a step with two
    # threads then takes ten times as long.
    "GOMP_SPINCOUNT": "10000",
    # Gradients of some MB, given back to the kernel after each step, would be cleared page by page in the next one.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),  # the most that every glibc takes
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # One process less for each gang: nothing here acts on its warnings.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray gives workers the lowest priority: they would start behind a driver that prepares data.
    "RAY_worker_niceness": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TRANSFORMERS_VERBOSITY": "error",
    "TUNE_WARN_THRESHOLD_S": "60",
}

WORKER_ENVIRONMENT = (
    "GOMP_SPINCOUNT",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "TOKENIZERS_PARALLELISM",
    "TRANSFORMERS_VERBOSITY",
)
"""What workers need that do not inherit this process's environment: those of a cluster's pods."""


def set_environment() -> None:
    """Sets what is not set yet; before Ray, torch and transformers are imported."""
    os.environ.update({name: value for name, value in _ENVIRONMENT.items() if name not in os.environ})
