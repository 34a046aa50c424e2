"""Makes the example's texts and its model without weights, from the running Python alone; nothing is downloaded.

    python make_data.py data

- docstrings.jsonl: docstrings of the standard library, what the small model is first trained on;
- reference.txt: paragraphs of the language reference that Python's `help()` shows, which are prose of another kind;
- model/: a tokenizer fitted on the docstrings, and the configuration of a small GPT-2.
"""

import ast
import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, PreTrainedTokenizerFast

CHARACTERS = 1_600_000
"""Of docstrings, about 450,000 tokens."""
PARAGRAPHS = 500
SHORTEST = 120
VOCABULARY, POSITIONS = 2048, 256
END = "<|endoftext|>"


def docstrings(library: Path) -> Iterator[str]:
    """The docstrings of all modules but tests."""
    for file in sorted(library.rglob("*.py")):
        if {"test", "tests", "site-packages", "lib2to3", "pydoc_data", "idlelib"} & set(file.parts):
            continue
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text and len(text) >= SHORTEST:
                    yield text


def paragraphs() -> Iterator[str]:
    """Prose of the language reference: paragraphs that are no code, no list and no heading."""
    for topic in sorted(topics):
        for paragraph in topics[topic].split("\n\n"):
            text = " ".join(paragraph.split())
            if len(text) >= SHORTEST and text[0].isupper() and text[-1] == "." and not paragraph.startswith(" "):
                yield text


def shuffled(texts: Iterator[str]) -> list[str]:
    """Each text once, in an order that depends on nothing but the texts."""
    return sorted(set(texts), key=lambda text: hashlib.sha256(text.encode()).digest())


def main(folder: Path) -> None:
    """Writes everything below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    taken, characters = [], 0
    for text in shuffled(docstrings(Path(sysconfig.get_paths()["stdlib"]))):
        if characters < CHARACTERS:
            taken.append(text)
            characters += len(text)
    (folder / "docstrings.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in taken), encoding="utf-8"
    )
    prose = shuffled(paragraphs())[:PARAGRAPHS]
    (folder / "reference.txt").write_text("\n\n".join(prose) + "\n", encoding="utf-8")
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(taken, vocab_size=VOCABULARY, special_tokens=[END], show_progress=False)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, eos_token=END, pad_token=END)
    fast.save_pretrained(folder / "model")
    end = fast.eos_token_id
    sizes = {"n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": POSITIONS, "vocab_size": VOCABULARY}
    # A small model on little text learns faster without dropout.
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    GPT2Config(**sizes, **still, bos_token_id=end, eos_token_id=end).save_pretrained(folder / "model")
    print(f"{folder}: {len(taken)} docstrings, {len(prose)} paragraphs, {len(fast)} tokens in the vocabulary")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
