"""What `import thaw_api` costs, and what must never lie at the repository's root."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MODULES_OF_OTHER_ROOMS = {"torch", "ray", "transformers", "kopf", "kubernetes", "numpy", "thaw_trainer", "thaw_cli"}


def test_the_api_imports_neither_torch_nor_ray_nor_kubernetes() -> None:
    program = "import json, sys, thaw_api, thaw_api.crd; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "thaw_api" in loaded
    assert loaded & MODULES_OF_OTHER_ROOMS == set()


def test_operator_is_no_package_since_it_would_shadow_the_standard_library() -> None:
    assert (ROOT / "pyproject.toml").exists()
    assert not (ROOT / "operator" / "__init__.py").exists()
