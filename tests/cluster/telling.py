"""Lines on the terminal while tests prepare what takes minutes."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def teller(config: pytest.Config) -> Callable[[str], None]:
    """Says at once what takes minutes; a worker of xdist has no terminal and stays silent."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")

    def say(line: str) -> None:
        if isinstance(reporter, pytest.TerminalReporter):
            reporter.write_line(line)

    return say
