"""`thaw validate`: everything that can be told without model and data."""

from pathlib import Path

from thaw_api import InvalidManifest, read_jobs
from thaw_cli.printing import Format, print_errors, print_object

INVALID = 2


def validate_manifests(files: list[Path], overrides: list[str], fmt: Format) -> int:
    """Prints what is wrong with each file; returns the exit status."""
    verdicts = []
    for file in files:
        try:
            jobs = read_jobs(file, overrides)
        except InvalidManifest as error:
            verdicts.append({"file": str(file), "valid": False, "errors": [vars(each) for each in error.errors]})
            if fmt in ("text", "name"):
                print_errors(str(file), error.errors)
            continue
        names = [f"finetunejob.thaw.dev/{job.metadata.name}" for job in jobs]
        verdicts.append({"file": str(file), "valid": True, "jobs": names})
        if fmt == "text":
            print(f"{file}: {', '.join(job.metadata.name for job in jobs)}: valid")
        elif fmt == "name":
            print("\n".join(names))
    if fmt in ("json", "yaml"):
        print_object(verdicts, fmt)
    return 0 if all(verdict["valid"] for verdict in verdicts) else INVALID
