"""Makes the example's table from the running Python alone: words of docstrings, tagged as names of the function's own
parameters or not. Nothing is downloaded and no module is imported, only parsed.

    python make_data.py data/words.conll
"""

import ast
import hashlib
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = {"test", "tests", "site-packages", "lib2to3", "idlelib", "pydoc_data", "turtledemo", "ensurepip"}
WORD = re.compile(r"\w+|[^\w\s]")
FEWEST, MOST = 5, 60
"""Words of a docstring's paragraph."""
ROWS = 2_400


def paragraphs(tree: ast.Module) -> Iterator[tuple[list[str], set[str]]]:
    """Words of each function's paragraphs, and the names of its parameters."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        names = {each.arg for each in given if each is not None} - {"self", "cls"}
        for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
            words = WORD.findall(paragraph)
            # Heads and doctests are not prose.
            if FEWEST <= len(words) <= MOST and ">>>" not in paragraph and "->" not in paragraph:
                yield words, names


def rows() -> Iterator[tuple[list[str], list[str]]]:
    """Words and their tags, each paragraph once, in an order that depends on nothing but the words."""
    library = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, tuple[list[str], list[str]]] = {}
    for file in sorted(library.rglob("*.py")):
        if LEFT_OUT & set(file.relative_to(library).parts):
            continue
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for words, names in paragraphs(tree):
            tags = ["B-PARAMETER" if word in names else "O" for word in words]
            if "B-PARAMETER" in tags:
                found.setdefault(" ".join(words), (words, tags))
    chosen = sorted(found, key=lambda text: hashlib.sha256(text.encode()).digest())[:ROWS]
    return (found[text] for text in chosen)


def main() -> None:
    """Writes the table, a word and its tag a line, to the file that the first argument names."""
    target = Path(sys.argv[1])
    table = list(rows())
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        "\n".join("".join(f"{word}\t{tag}\n" for word, tag in zip(*row, strict=True)) for row in table),
        encoding="utf-8",
    )
    tags = [tag for _, each in table for tag in each]
    print(f"{target}: {len(table)} paragraphs, {len(tags)} words, {tags.count('B-PARAMETER')} names of parameters")


if __name__ == "__main__":
    main()
