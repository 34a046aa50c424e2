"""A trial in a process that has done nothing else: prints its reports as JSON.

python -m tests.unit.loop.fresh_process JOB_FOLDER CHECKPOINTS CHANGES
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from tests.unit.tiny_jobs import TinyJob


def main() -> None:
    """Runs the trial."""
    root, checkpoints, changes = sys.argv[1:]
    torch.set_num_threads(1)
    tiny = TinyJob.there(Path(root))
    print(json.dumps(tiny.run(tiny.spec(json.loads(changes)), checkpoints).reports))


if __name__ == "__main__":
    main()
