"""Tiers: one that cannot run says so at the end, and fails where it is required."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import NoReturn

import pytest
from hypothesis import settings

from thaw_api.contract import CACHE_VARIABLE

settings.register_profile("thaw", deadline=None)  # what is measured here is no time
settings.load_profile("thaw")

REQUIRE = "THAW_REQUIRE"
LEFT_OUT = re.compile(r"the (\w+) tier cannot run: (.*)", re.DOTALL)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the tests cache is theirs, and no earlier run's."""
    os.environ[CACHE_VARIABLE] = str(tmp_path_factory.mktemp("prefix-cache"))


@pytest.fixture(scope="session")
def cannot_run() -> Callable[[str, str], NoReturn]:
    """Call it with a tier's name and the reason: the tests that wait for that tier are skipped.

    They fail instead if the environment has THAW_REQUIRE=all, or a comma list with the tier in it.
    """

    def leave_out(tier: str, reason: str) -> NoReturn:
        message = f"the {tier} tier cannot run: {reason}"
        required = os.environ.get(REQUIRE, "")
        if {"all", tier} & {name.strip() for name in required.split(",")}:
            pytest.fail(f"{message}\n({REQUIRE}={required} requires it)", pytrace=False)
        pytest.skip(message)

    return leave_out


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # Read from the reports, not kept while tests run: under xdist those are other processes.
    reports = terminalreporter.stats.get("skipped", [])
    reasons = (LEFT_OUT.search(str(report.longrepr[2])) for report in reports)
    tiers = {found[1]: found[2] for found in reasons if found}
    if tiers:
        terminalreporter.section("tiers left out", yellow=True)
        for tier, reason in tiers.items():
            terminalreporter.line(f"{tier}: {reason}")
