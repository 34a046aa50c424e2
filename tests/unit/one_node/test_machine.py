"""Two looks at a machine, compared."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.one_node.machine import Machine, processes_of

BEFORE = Machine(
    links=["eth0", "lo"],
    routes=["eth0 0"],
    mounts=["/ /"],
    rules=["iptables-save: *filter"],
    settings={"kernel/panic": "0\n"},
    cgroups=["/sys/fs/cgroup/system"],
)


def test_a_machine_that_is_as_it_was_has_no_changes() -> None:
    assert BEFORE.changes(BEFORE) == []


@pytest.mark.parametrize("kind", ["links", "routes", "mounts", "rules", "cgroups"])
def test_what_came_and_what_went_is_named(kind: str) -> None:
    (first, *_) = getattr(BEFORE, kind)
    changed: dict[str, Any] = {kind: [*getattr(BEFORE, kind)[1:], "new"]}
    after = replace(BEFORE, **changed)
    assert BEFORE.changes(after) == [f"{kind}: left behind: new", f"{kind}: gone: {first}"]


def test_a_changed_setting_is_named_with_both_values() -> None:
    after = replace(BEFORE, settings={"kernel/panic": "10\n"})
    assert BEFORE.changes(after) == ["settings: kernel/panic was 0, is 10"]


def test_a_machine_is_the_same_from_its_file(tmp_path: Path) -> None:
    BEFORE.write(tmp_path / "machine.json")
    assert Machine.read(tmp_path / "machine.json") == BEFORE


def test_this_process_and_its_parents_are_nobodys_remains() -> None:
    found = processes_of(Path("/no/folder"), "no-cgroup", os.readlink("/proc/self/ns/mnt"))
    assert not any(line.split()[3] == str(os.getpid()) for line in found)
