"""Makes the example's sentences from the running Python's standard library, which is parsed and not imported. Nothing
is downloaded.

    python make_data.py data

A sentence is one of a function's docstring. Its words are tagged by what the code knows of them: B-PARAMETER, one of
this function; B-CLASS, B-EXCEPTION, a class that its module defines or an exception that Python has; B-FUNCTION, a
function of its module, where the sentence calls it so ("read()") or it can be no other word ("read_bytes"); O,
everything else. Quotes, parentheses of calls and other marks of code are then left out, so that only the sentence
itself tells. The files are train.conll, validation.conll and test.conll; a module or package is in one of them.
"""

import ast
import builtins
import hashlib
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = {"test", "tests", "site-packages", "lib2to3", "idlelib", "pydoc_data", "turtledemo", "ensurepip"}
FEWEST, MOST = 5, 40
"""Words of a sentence."""
PER_MODULE = 200
"""Sentences of a module or package at most, so that none is most of it."""
WORD = re.compile(r"[A-Za-z_][\w.]*\w|\w+|[^\w\s]")
MARKS = re.compile(r"[`'\"*|]|\(\)|:\w+:")
"""What says of itself that a word is code."""
CALLED = re.compile(r"(\w+)\(")
EXCEPTIONS = {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
}

Sentence = list[tuple[str, str]]


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


def defined(module: ast.Module) -> dict[str, str]:
    """Names of a module's functions, classes and exceptions, and the built-in exceptions, with their tags."""
    found = {}
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = "B-FUNCTION"
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            found[node.name] = "B-EXCEPTION" if node.name.endswith(("Error", "Exception", "Warning")) else "B-CLASS"
    return found | dict.fromkeys(EXCEPTIONS, "B-EXCEPTION")


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, str]:
    """Names of a function's parameters, with their tag."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {each.arg: "B-PARAMETER" for each in every if each is not None and each.arg not in ("self", "cls")}


def tag_of(word: str, tags: dict[str, str], called: set[str]) -> str:
    """A word's tag: "read" is a function only where it is called."""
    tag = tags.get(word, "O")
    return "O" if tag == "B-FUNCTION" and "_" not in word and word not in called else tag


def sentences(docstring: str) -> Iterator[str]:
    """The sentences of a docstring's paragraphs of prose."""
    for paragraph in docstring.split("\n\n"):
        lines = paragraph.split("\n")
        if ">>>" in paragraph or any(line.startswith((" ", "\t", "-", "+", "=")) for line in lines):
            continue
        yield from re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split()))


def tagged() -> Iterator[tuple[str, Sentence]]:
    """Each sentence once, with the top name of its module."""
    seen = set()
    for name, module in modules():
        known = defined(module)
        for node in ast.walk(module):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not (text := ast.get_docstring(node)):
                continue
            tags = known | parameters(node)
            for sentence in sentences(text):
                called = set(CALLED.findall(sentence))
                words = WORD.findall(MARKS.sub(" ", sentence))
                line = " ".join(words).lower()
                if FEWEST <= len(words) <= MOST and line not in seen:
                    seen.add(line)
                    yield name, [(word, tag_of(word, tags, called)) for word in words]


def chosen() -> Iterator[tuple[str, Sentence]]:
    """Sentences with a tagged word; no more than PER_MODULE of a module."""
    by_module: dict[str, list[Sentence]] = {}
    for name, sentence in tagged():
        if any(tag != "O" for _, tag in sentence):
            by_module.setdefault(name, []).append(sentence)
    for name, found in by_module.items():
        for sentence in sorted(found, key=lambda each: order(str(each)))[:PER_MODULE]:
            yield name, sentence


def split_of(module: str) -> str:
    """Which file a module's sentences are in."""
    place = order(module) % 10
    return "test" if place < 2 else "validation" if place == 2 else "train"


def main(folder: Path) -> None:
    """Writes the three files below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    splits: dict[str, list[Sentence]] = {"train": [], "validation": [], "test": []}
    for module, sentence in chosen():
        splits[split_of(module)].append(sentence)
    for name, found in splits.items():
        text = "\n\n".join("\n".join(f"{word} {tag}" for word, tag in sentence) for sentence in found)
        (folder / f"{name}.conll").write_text(text + "\n", encoding="utf-8")
        tags = Counter(tag for sentence in found for _, tag in sentence)
        print(f"{folder / name}.conll: {len(found)} sentences, {dict(tags.most_common())}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
