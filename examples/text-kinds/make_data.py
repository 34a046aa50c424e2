"""Makes the example's three tables from the running Python alone: nothing is downloaded and no module is imported, only
parsed.

    python make_data.py data

- pairs.jsonl: a docstring's first sentence and the head of a function, its own or that of another one nearby;
- raises.jsonl: docstrings, and which exceptions the code below them raises, none too;
- numbers.csv: names of Unicode's characters that stand for a number, and the number.
"""

import ast
import csv
import hashlib
import json
import re
import sys
import sysconfig
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LEFT_OUT = {"test", "tests", "site-packages", "lib2to3", "idlelib", "pydoc_data", "turtledemo", "ensurepip"}
SHORTEST, LONGEST = 25, 110
PAIRS = 1_000
FEWEST_RAISES = 25
"""Functions that raise an exception, at least, for it to be a label."""
LARGEST = 100


@dataclass(frozen=True)
class Function:
    """What is read of a function."""

    module: str
    head: str
    sentence: str
    docstring: str
    raises: frozenset[str]


def functions() -> Iterator[Function]:
    """The documented functions of the standard library, in order of modules."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for file in sorted(library.rglob("*.py")):
        place = file.relative_to(library)
        if LEFT_OUT & set(place.parts):
            continue
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
                paragraph = " ".join(text.split("\n\n")[0].split())
                sentence = re.split(r"(?<=[.!?])\s", paragraph)[0]
                head = f"{node.name}({', '.join(each.arg for each in node.args.args if each.arg != 'self')})"
                yield Function(place.parts[0], head, sentence, " ".join(text.split()), raised(node))


def raised(function: ast.AST) -> frozenset[str]:
    """Names of the exceptions that a function's own code raises."""
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(called, ast.Name) and called.id.endswith(("Error", "Exception", "Iteration")):
                names.add(called.id)
    return frozenset(names)


def order(text: str) -> bytes:
    """An order that depends on nothing but the text."""
    return hashlib.sha256(text.encode()).digest()


def pairs(found: list[Function]) -> Iterator[dict[str, str]]:
    """Each sentence once with its own head, once with that of another function of the same module or package."""
    usable = {each.sentence: each for each in found if SHORTEST <= len(each.sentence) <= LONGEST}
    heads: dict[str, list[str]] = {}
    for each in usable.values():
        heads.setdefault(each.module, []).append(each.head)
    taken = 0
    for each in sorted(usable.values(), key=lambda function: order(function.sentence)):
        others = sorted(set(heads[each.module]) - {each.head}, key=lambda head: order(each.sentence + head))
        if others and taken < PAIRS:
            taken += 1
            yield {"sentence": each.sentence, "head": each.head, "belongs": "yes"}
            yield {"sentence": each.sentence, "head": others[0], "belongs": "no"}


def exceptions(found: list[Function]) -> Iterator[dict[str, object]]:
    """Docstrings with the exceptions that are frequent enough; as many that raise none as ones that do."""
    usable = {each.docstring: each for each in found if len(each.docstring) >= SHORTEST}
    counts = Counter(name for each in usable.values() for name in each.raises)
    frequent = {name for name, rows in counts.items() if rows >= FEWEST_RAISES}
    rows = [
        (f"{each.head}: {each.docstring}", sorted(each.raises & frequent))
        for each in sorted(usable.values(), key=lambda function: order(function.docstring))
    ]
    raising = [row for row in rows if row[1]]
    silent = [row for row in rows if not row[1]][: len(raising)]
    for text, labels in sorted(raising + silent, key=lambda row: order(row[0])):
        yield {"docstring": text, "raises": labels}


def numbers() -> Iterator[tuple[str, str]]:
    """Each name once; the script's name, which is nothing of the number, is part of it."""
    for point in range(sys.maxunicode + 1):
        value = unicodedata.numeric(chr(point), -1.0)
        if 0 <= value <= LARGEST:
            yield unicodedata.name(chr(point)).lower(), f"{value:g}"


def write_jsonl(file: Path, rows: list[dict[str, object]]) -> None:
    """A row a line."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main(folder: Path) -> None:
    """Writes the tables below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = list(functions())
    in_pairs, raises = list(pairs(found)), list(exceptions(found))
    write_jsonl(folder / "pairs.jsonl", [dict(row) for row in in_pairs])
    write_jsonl(folder / "raises.jsonl", raises)
    named = list(numbers())
    with (folder / "numbers.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "number"])
        writer.writerows(named)
    print(f"{folder}: {len(in_pairs)} pairs, {len(raises)} docstrings, {len(named)} names of numbers")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
