"""Other people's libraries that benchmarks compare with, at pinned versions, in a folder of their own."""

import os
import subprocess
import sys
from pathlib import Path

PEERS = ("accelerate==1.12.0",)
FOLDER = Path.home() / ".cache" / "thaw" / "bench-peers"


def use_peers() -> None:
    """Installs them, without what they depend on (thaw's own environment has it), and begins the program again with
    them on its path: libraries look for each other when they are imported."""
    path = os.environ.get("PYTHONPATH", "")
    if str(FOLDER) in path.split(os.pathsep):
        return
    if not FOLDER.is_dir():
        target = ["--target", str(FOLDER), "--no-deps", "--quiet"]
        subprocess.run(["uv", "pip", "install", "--python", sys.executable, *target, *PEERS], check=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (path, str(FOLDER))))}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)
