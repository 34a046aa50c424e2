"""Makes the quickstart's table from the running Python: the first sentence of each docstring of the standard library,
and the part of the library that it belongs to. Nothing is downloaded and no module is imported, only parsed.

    python make_data.py data/sections.csv
"""

import ast
import csv
import hashlib
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PARTS = {
    "concurrency": "asyncio threading multiprocessing concurrent queue sched selectors subprocess contextvars",
    "data structures": "collections _collections_abc enum functools dataclasses weakref heapq graphlib operator types "
    "typing copy abc contextlib reprlib",
    "developer tools": "unittest doctest pdb bdb pydoc inspect traceback trace timeit dis ast symtable tracemalloc "
    "cProfile profile pstats tokenize cmd code",
    "email": "email mailbox mimetypes quopri smtplib poplib imaplib",
    "files": "tarfile zipfile pathlib shutil tempfile _pyio gzip lzma bz2 os posixpath genericpath ntpath fileinput "
    "glob filecmp stat",
    "importing": "importlib pkgutil zipimport runpy modulefinder site venv zipapp sysconfig",
    "logging": "logging warnings argparse optparse getopt",
    "markup": "xml html json csv configparser plistlib tomllib",
    "networking": "http urllib ftplib socket socketserver ssl xmlrpc wsgiref ipaddress webbrowser uuid",
    "numbers": "_pydecimal statistics fractions numbers random datetime _pydatetime calendar zoneinfo _strptime",
    "text": "encodings codecs difflib textwrap re string locale gettext base64 pprint shlex",
    "user interfaces": "tkinter turtle curses idlelib",
}
ROWS_PER_PART = 260
SHORTEST, LONGEST = 20, 90


def first_sentence(docstring: str) -> str:
    """The first sentence, on one line."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph)[0]


def sentences(file: Path) -> Iterator[str]:
    """First sentences of a module's docstrings."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring and SHORTEST <= len(first_sentence(docstring)) <= LONGEST:
                yield first_sentence(docstring)


def module_files(library: Path, module: str) -> list[Path]:
    """The source files of a module or package, tests left out."""
    folder = [path for path in sorted((library / module).rglob("*.py")) if "test" not in path.parent.name]
    return folder or [path for path in [library / f"{module}.py"] if path.is_file()]


def rows() -> Iterator[tuple[str, str]]:
    """(summary, section), each summary once, at most ROWS_PER_PART of a section."""
    library = Path(sysconfig.get_paths()["stdlib"])
    seen: set[str] = set()
    for section, modules in PARTS.items():
        found = [
            text for module in modules.split() for file in module_files(library, module) for text in sentences(file)
        ]
        fresh = sorted(set(found) - seen, key=lambda text: hashlib.sha256(text.encode()).digest())
        seen.update(fresh)
        yield from ((text, section) for text in fresh[:ROWS_PER_PART])


def main() -> None:
    """Writes the table to the file that the first argument names."""
    target = Path(sys.argv[1])
    table = list(rows())
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["summary", "section"])
        writer.writerows(table)
    print(f"{target}: {len(table)} rows, {len({section for _, section in table})} sections")


if __name__ == "__main__":
    main()
