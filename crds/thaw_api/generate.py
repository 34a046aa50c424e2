"""The files that are generated from the models.

python -m thaw_api.generate --write .     writes them, from the root of a checkout
python -m thaw_api.generate --check .     exits 1, with a diff, if one is not what the models say
"""

import argparse
import difflib
import sys
from pathlib import Path

from thaw_api.admission import admission_policies
from thaw_api.crd import FILE_NAME, crd_text, yaml_text
from thaw_api.reference import reference_text


def generated_files() -> dict[str, str]:
    """Path from the checkout's root, and content, of each file."""
    definition = crd_text()
    return {
        f"crds/{FILE_NAME}": definition,
        # Helm reads nothing outside the chart.
        "charts/thaw/generated/crd.yaml": definition,
        "charts/thaw/generated/admission-policies.yaml": yaml_text(admission_policies()),
        "docs/reference.md": reference_text(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or say how they differ; the exit status is 1 if one does."""
    parser = argparse.ArgumentParser(description="Generate CRD, admission policies and field reference.")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", type=Path, metavar="ROOT", help="write the files of this checkout")
    action.add_argument("--check", type=Path, metavar="ROOT", help="exit 1 with a diff if a file differs")
    chosen = parser.parse_args(arguments)
    differs = False
    for name, wanted in generated_files().items():
        if chosen.write:
            file = chosen.write / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(wanted, encoding="utf-8")
            continue
        file = chosen.check / name
        found = file.read_text(encoding="utf-8") if file.exists() else ""
        lines = found.splitlines(keepends=True), wanted.splitlines(keepends=True)
        sys.stdout.writelines(difflib.unified_diff(*lines, str(file), "the models"))
        differs |= found != wanted
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
