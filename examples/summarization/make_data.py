"""Makes the example's pairs and its model without weights, from docstrings that this Python has; nothing is downloaded.

    python make_data.py data

A docstring begins with a line that says in short what the rest says at length: the rest is the text, the line is its
summary.

- packages.jsonl: docstrings of installed packages: what the small model is first trained on;
- library.jsonl: those of the standard library;
- model/: a tokenizer fitted on packages.jsonl, and the configuration of a small T5.
"""

import ast
import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast, T5Config

PACKAGES = ("numpy", "scipy", "sklearn", "torch", "pandas", "matplotlib", "ray", "pyarrow", "optuna", "PIL")
FIRST, SECOND = 12_000, 2_400
"""Pairs at most, of packages and of the standard library."""
VOCABULARY = 4096
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
Pair = tuple[str, str]


def pairs(folder: Path) -> Iterator[Pair]:
    """Text and summary of the docstrings below a folder: one line, an empty line, and prose."""
    for file in sorted(folder.rglob("*.py")):
        if {"test", "tests", "testing", "idlelib", "lib2to3", "pydoc_data", "site-packages"} & set(
            file.relative_to(folder).parts
        ):
            continue
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            first, _, rest = (ast.get_docstring(node) or "").partition("\n\n")
            prose = " ".join(rest.split())
            words = first.split()
            if "\n" not in first and first.endswith(".") and 3 <= len(words) <= 20 and len(prose) >= 80:
                yield prose[:800], first


def shuffled(found: Iterator[Pair], most: int) -> list[Pair]:
    """Each text once, in an order that depends on nothing but the texts."""
    by_text = dict(found)
    return sorted(by_text.items(), key=lambda pair: hashlib.sha256(pair[0].encode()).digest())[:most]


def write(file: Path, rows: list[Pair]) -> None:
    """One object a line."""
    lines = (json.dumps({"text": text, "summary": summary}) + "\n" for text, summary in rows)
    file.write_text("".join(lines), encoding="utf-8")


def main(folder: Path) -> None:
    """Writes everything below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = sysconfig.get_paths()
    packages = [Path(paths["purelib"]) / name for name in PACKAGES]
    first = shuffled((pair for package in packages for pair in pairs(package)), FIRST)
    second = shuffled(pairs(Path(paths["stdlib"])), SECOND)
    write(folder / "packages.jsonl", first)
    write(folder / "library.jsonl", second)
    tokenizer = Tokenizer(BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer, tokenizer.decoder = Metaspace(), MetaspaceDecoder()
    trainer = BpeTrainer(vocab_size=VOCABULARY, special_tokens=[PAD, END, UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator([text for pair in first for text in pair], trainer)
    tokenizer.post_processor = TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN)
    fast.save_pretrained(folder / "model")
    sizes = {"d_model": 192, "d_kv": 32, "d_ff": 512, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 6}
    still = {"dropout_rate": 0.0, "feed_forward_proj": "gated-gelu"}
    T5Config(**sizes, **still, vocab_size=len(fast), decoder_start_token_id=0).save_pretrained(folder / "model")
    print(f"{folder}: {len(first)} pairs of packages, {len(second)} of the standard library, {len(fast)} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
