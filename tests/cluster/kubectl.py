"""kubectl against one server: what the command answers, or an error that says why not."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

COMMAND_SECONDS = 120.0


class KubectlError(Exception):
    """kubectl ended with an error; `stderr` is all that it wrote there."""

    def __init__(self, command: list[str], returncode: int, stderr: str) -> None:
        super().__init__(f"`{' '.join(command)}` ended with status {returncode}:\n{stderr}")
        self.returncode = returncode
        self.stderr = stderr


@dataclass(frozen=True)
class Api:
    """A Kubernetes API as an administrator sees it. `folder` keeps kubectl's discovery cache."""

    kubeconfig: Path
    program: Path
    folder: Path

    def kubectl(
        self,
        *args: str,
        input: str | None = None,  # noqa: A002  (as subprocess.run names it)
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl with `input` on its standard input; raises KubectlError if `check`."""
        command = [
            str(self.program),
            f"--kubeconfig={self.kubeconfig}",
            # The cache in the home folder goes by host and port, and a port comes back with
            # another server behind it.
            f"--cache-dir={self.folder / 'kubectl'}",
            *args,
        ]
        done = subprocess.run(
            command,
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            # A person's own kubectl preferences are not the tests'.
            env={**os.environ, "KUBERC": "off"},
        )
        if check and done.returncode != 0:
            raise KubectlError(["kubectl", *args], done.returncode, done.stderr)
        return done

    def dry_run(self, manifest: dict[str, Any] | str) -> dict[str, Any]:
        """Create on the server, keeping nothing; returns the object with the server's defaults.

        `manifest` is a dict, or text that kubectl reads (YAML or JSON) with one object in it.
        Raises KubectlError with the server's reasons when it refuses. Unknown fields are refused.
        """
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        done = self.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=text)
        return cast(dict[str, Any], json.loads(done.stdout))
