"""Other people's libraries that benchmarks compare with, at pinned versions, each set in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

PEERS = {
    "trainer": ("accelerate==1.12.0",),
    "datasets": (
        "datasets==4.4.1",
        "datasketch==2.0.0",
        "dill==0.4.0",
        "httpcore==1.0.9",
        "httpx==0.28.1",
        "multiprocess==0.70.18",
        "xxhash==3.6.0",
    ),
    "schedules": (
        "beartype==0.23.1",
        "beautifulsoup4==4.15.0",
        "fastai==2.8.12",
        "fastcore==2.2.41",
        "fastdownload==0.0.8",
        "fastprogress==1.1.6",
        "fasttransform==0.0.5",
        "finetuning-scheduler==2.14.1",
        "httpcore==1.0.9",
        "httpx==0.28.1",
        "itsdangerous==2.2.0",
        "lightning==2.6.6",
        "plum-dispatch==2.9.0",
        "python-fasthtml==0.14.14",
        "python-multipart==0.0.34",
        "pytorch-lightning==2.6.6",
        "soupsieve==4.1.3",
        "starlette==1.10.0",
        "uvicorn==0.54.0",
    ),
}
"""Packages without what they depend on: thaw's own environment has that, or what is compared needs none of it."""
FOLDERS = Path.home() / ".cache" / "thaw" / "bench-peers"


def use_peers(name: Literal["trainer", "datasets", "schedules"]) -> None:
    """Installs a set and begins the program again with it on its path: libraries look for each other when they are
    imported."""
    path, folder = os.environ.get("PYTHONPATH", ""), FOLDERS / name
    if str(folder) in path.split(os.pathsep):
        return
    if not folder.is_dir():
        target = ["--target", str(folder), "--no-deps", "--quiet"]
        subprocess.run(["uv", "pip", "install", "--python", sys.executable, *target, *PEERS[name]], check=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (path, str(folder))))}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)
