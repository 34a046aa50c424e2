"""Runs a model and keeps what some of its modules return, up to the last of them."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import nn


class _Reached(Exception):
    """All that is wanted has been computed."""


@dataclass
class Captured:
    """What each module returned at its last call, when that was, how often it was called; `order`: by last call."""

    outputs: dict[str, Any] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    """`time.perf_counter` when each module's last call ended."""

    def last_of(self, modules: Iterable[str]) -> str | None:
        """Which of some modules was called last; None when none was called."""
        called = [name for name in self.order if name in set(modules)]
        return called[-1] if called else None


def capture(
    model: nn.Module,
    run: Callable[[], Any],
    names: Iterable[str],
    calls: dict[str, int] | None = None,
    wait: Callable[[], None] = lambda: None,
) -> Captured:
    """What modules of a model return while `run` runs it.

    Args:
        calls: how often each of them is called, as an earlier run found; the model is left when all were. Without, it
            runs to its end.
        wait: called before each time is taken.
    """
    captured = Captured()
    missing = dict(calls or {})

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            captured.outputs[name] = output
            wait()
            captured.times[name] = time.perf_counter()
            if name in captured.calls:
                captured.order.remove(name)
            captured.order.append(name)
            captured.calls[name] = captured.calls.get(name, 0) + 1
            if missing.get(name) == captured.calls[name]:
                del missing[name]
                if not missing:
                    raise _Reached

        return hook

    hooks = [model.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        run()
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return captured
