"""Makes the example's questions from the running Python's standard library, which is parsed and not imported. Nothing
is downloaded.

    python make_data.py data

A context is the prose of several functions that follow each other in a class or module, each behind its name. A
question is about one of them, and its answer is what the code says, if the prose has it too:

- which exception is raised: one that the function's code raises;
- which parameter may be left out, or must be given: one that has a default in the function's head, or has none;
- what a function does: the first sentence of its docstring.

A question to which neither code nor prose has an answer is unanswerable, as in SQuAD 2.0. The files are train.json,
validation.json and test.json; a module or package is in one of them.
"""

import ast
import hashlib
import json
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEFT_OUT = {"test", "tests", "site-packages", "lib2to3", "idlelib", "pydoc_data", "turtledemo", "ensurepip"}
MOST_WORDS = 40
"""Words of a context: more functions of a class or module are its next contexts."""
MOST_OF_A_FUNCTION = 30
MOST_OF_A_SENTENCE = 14
PER_MODULE = 15
"""Contexts of a module or package at most, so that none is most of it."""
PER_KIND = {"purpose": 1, "exception": 3, "optional": 2, "required": 1}
"""A kind of question is asked at most so often about a context; one without an answer once."""
RAISED = re.compile(r"[A-Z]\w+(?:Error|Exception|Warning|Interrupt)\b|Stop\w*Iteration\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Asked:
    """A question about a function, and its answers: text and first character in the function's prose."""

    kind: str
    question: str
    answers: tuple[tuple[str, int], ...]


def order(text: str) -> int:
    """A number that depends on nothing but the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def modules() -> Iterator[tuple[str, ast.Module]]:
    """The top name and the code of each module."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for file in sorted(library.rglob("*.py")):
        place = file.relative_to(library)
        if LEFT_OUT & set(place.parts):
            continue
        try:
            yield place.parts[0].removesuffix(".py").lstrip("_"), ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue


def prose(function: Function) -> str:
    """A function's docstring on one line, without examples and tables."""
    paragraphs = (ast.get_docstring(function) or "").split("\n\n")
    kept = [each for each in paragraphs if ">>>" not in each and "  " not in each.replace("\n    ", "\n")]
    return " ".join(" ".join(kept).split())


def places(text: str, part: str) -> tuple[tuple[str, int], ...]:
    """Where a word or value stands in a text by itself."""
    return tuple((part, found.start()) for found in re.finditer(rf"(?<![\w.]){re.escape(part)}(?!\w)", text))


def raised(function: Function) -> set[str]:
    """Names of what a function's own code raises."""
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            names.add(ast.unparse(called).split(".")[-1])
    return names


def defaults(function: Function) -> dict[str, ast.expr | None]:
    """A function's parameters, each with its default."""
    arguments = function.args
    listed = [*arguments.posonlyargs, *arguments.args]
    given = [None] * (len(listed) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = [*zip(listed, given, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return {each.arg: default for each, default in pairs if each.arg not in ("self", "cls")}


def questions(function: Function, text: str) -> Iterator[Asked]:
    """What is asked about a function whose prose is `text`."""
    name = function.name
    found = tuple(place for each in sorted(raised(function)) for place in places(text, each))
    if found or not RAISED.search(text):
        yield Asked("exception", f"Which exception does {name} raise?", found)
    known = defaults(function)
    optional = tuple(place for each, default in known.items() if default is not None for place in places(text, each))
    required = tuple(place for each, default in known.items() if default is None for place in places(text, each))
    if optional or required:
        if optional or all(default is None for default in known.values()):
            yield Asked("optional", f"Which parameter of {name} may be left out?", optional)
        if required or None not in known.values():
            yield Asked("required", f"Which parameter of {name} must be given?", required)
    sentence = re.split(r"(?<=[.!?])\s", text)[0]
    if len(sentence.split()) <= MOST_OF_A_SENTENCE:
        yield Asked("purpose", f"What does {name} do?", ((sentence.rstrip(".!?"), 0),))


def contexts(module: ast.Module) -> Iterator[list[tuple[Function, str]]]:
    """Functions that follow each other, with their prose."""
    for owner in ast.walk(module):
        if not isinstance(owner, ast.Module | ast.ClassDef):
            continue
        taken: list[tuple[Function, str]] = []
        for node in owner.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            text = prose(node)
            if not 3 <= len(text.split()) <= MOST_OF_A_FUNCTION or node.name in {each.name for each, _ in taken}:
                continue
            if taken and sum(len(words.split()) for _, words in [*taken, (node, text)]) > MOST_WORDS:
                yield taken
                taken = []
            taken.append((node, text))
        if taken:
            yield taken


def paragraph(functions: list[tuple[Function, str]]) -> tuple[dict[str, Any], Counter[str]]:
    """A context with its questions as SQuAD has them, and how many of each kind there are."""
    context, asked = "", []
    for function, text in functions:
        start = len(context) + len(function.name) + 2
        context += f"{function.name}: {text}\n"
        asked += [(each, start) for each in questions(function, text)]
    counts: Counter[str] = Counter()
    rows = []
    for each, start in sorted(asked, key=lambda one: order(context + one[0].question)):
        kind = each.kind if each.answers else f"no {each.kind}"
        if kind == "no exception" and not RAISED.search(context):
            continue  # too easy
        if counts[kind] < (PER_KIND[each.kind] if each.answers else 1):
            counts[kind] += 1
            answers = [{"text": text, "answer_start": start + place} for text, place in each.answers]
            key = f"{order(context + each.question):016x}"
            rows.append({"id": key, "question": each.question, "answers": answers, "is_impossible": not answers})
    return {"context": context.rstrip("\n"), "qas": rows}, counts


def split_of(module: str) -> str:
    """Which file a module's questions are in."""
    place = order(module) % 10
    return "test" if place < 2 else "validation" if place == 2 else "train"


def main(folder: Path) -> None:
    """Writes the three files below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {"train": {}, "validation": {}, "test": {}}
    counts: dict[str, Counter[str]] = {split: Counter() for split in found}
    seen = set()
    for name, module in modules():
        split = split_of(name)
        for functions in contexts(module):
            made, kinds = paragraph(functions)
            worth = set(kinds) - {"purpose", "no exception"}
            few = len(found[split].get(name, ())) < PER_MODULE
            if worth and few and made["context"] not in seen:
                seen.add(made["context"])
                found[split].setdefault(name, []).append(made)
                counts[split] += kinds
    for split, titles in found.items():
        data = [{"title": title, "paragraphs": paragraphs} for title, paragraphs in titles.items()]
        text = json.dumps({"version": "v2.0", "data": data}, indent=1)
        (folder / f"{split}.json").write_text(text, encoding="utf-8")
        print(f"{folder / split}.json: {counts[split].total()} questions, {dict(counts[split].most_common())}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
