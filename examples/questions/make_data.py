"""Makes the example's questions from the running Python alone: which of eight functions does what a sentence says?
Nothing is downloaded and no module is imported, only parsed.

    python make_data.py data/functions.json

In SQuAD's layout: a context is the heads of functions of one module or package, a question the first sentence of one
of their docstrings, the answer that function's head.
"""

import ast
import hashlib
import json
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = {"test", "tests", "site-packages", "lib2to3", "idlelib", "pydoc_data", "turtledemo", "ensurepip"}
SHORTEST, LONGEST = 25, 110
CHOICES = 8
QUESTIONS = 2_000


def described(library: Path) -> dict[str, dict[str, str]]:
    """By module or package: the first sentence of each function's docstring, and the function's head."""
    found: dict[str, dict[str, str]] = {}
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
                sentence = re.split(r"(?<=[.!?])\s", " ".join(text.split("\n\n")[0].split()))[0]
                head = f"{node.name}({', '.join(each.arg for each in node.args.args if each.arg != 'self')})"
                if SHORTEST <= len(sentence) <= LONGEST and node.name not in sentence:
                    found.setdefault(place.parts[0], {})[sentence] = head
    return found


def paragraphs(library: Path) -> Iterator[dict[str, object]]:
    """A context with its one question, in SQuAD's words."""
    asked = {
        sentence: (head, sorted(set(sentences.values()) - {head}))
        for sentences in described(library).values()
        for sentence, head in sentences.items()
    }
    for sentence in sorted(asked, key=order):
        head, others = asked[sentence]
        if len(others) < CHOICES - 1:
            continue
        chosen = sorted(others, key=lambda other: order(sentence + other))[: CHOICES - 1]
        heads = sorted([head, *chosen], key=lambda each: order(each + sentence))
        start = len("".join(f"{each}; " for each in heads[: heads.index(head)]))
        answers = [{"text": head, "answer_start": start}]
        yield {"context": "; ".join(heads), "qas": [{"id": sentence, "question": sentence, "answers": answers}]}


def order(text: str) -> bytes:
    """An order that depends on nothing but the text."""
    return hashlib.sha256(text.encode()).digest()


def main() -> None:
    """Writes the questions to the file that the first argument names."""
    target = Path(sys.argv[1])
    found = list(paragraphs(Path(sysconfig.get_paths()["stdlib"])))[:QUESTIONS]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"data": [{"paragraphs": found}]}), encoding="utf-8")
    print(f"{target}: {len(found)} questions, {CHOICES} functions to choose from in each")


if __name__ == "__main__":
    main()
