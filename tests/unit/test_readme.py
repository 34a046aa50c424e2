"""The README shows the manifest that is run, links lead somewhere, and every reason of an error is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from thaw_api import InvalidManifest
from thaw_trainer import errors

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
LONGEST_MANIFEST = 25
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md"), *ROOT.glob("benchmarks/*.md")]
)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def manifests(text: str) -> list[str]:
    """The YAML blocks that are whole manifests."""
    return [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "kind: FineTuneJob" in block]


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Links of a page to files or headings of this repository that are not there."""
    broken = []
    # A link's text may be code, and code may look like a link.
    for link in LINK.findall(CODE.sub("code", page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


def test_the_readme_shows_the_manifest_of_the_quickstart() -> None:
    (shown,) = manifests(README.read_text(encoding="utf-8"))
    assert shown == (ROOT / "examples" / "quickstart" / "job.yaml").read_text(encoding="utf-8")
    assert len(shown.splitlines()) <= LONGEST_MANIFEST


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading\n[a](#a-heading) [b](#none) [c](missing.md) [d](page.md#a-heading) ![e](later.png)\n")
    assert broken_links(page) == ["#none", "missing.md"]


def test_every_reason_of_an_error_is_explained() -> None:
    reasons = [value for name, value in vars(errors).items() if name.isupper() and isinstance(value, str)]
    explained = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert [reason for reason in [*reasons, InvalidManifest.reason] if f"| `{reason}` |" not in explained] == []
