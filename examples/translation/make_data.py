"""Makes the example's pairs and its model without weights, from the package Babel alone; nothing is downloaded.

    python make_data.py data

- names.csv: English names of countries, languages, scripts and currencies, each with its name in one of three Romance
  languages, whose code stands before it: what the small model is first trained on;
- italian.csv: the same names in Italian, which it has never seen;
- model/: a tokenizer fitted on names.csv, and the configuration of a small T5.
"""

import csv
import sys
from pathlib import Path

from babel import Locale
from tokenizers import Tokenizer
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast, T5Config

KNOWN = ("es", "pt", "fr")
NEW = "it"
VOCABULARY = 800
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"


def names(code: str) -> dict[tuple[str, str], str]:
    """Names in a language, by kind and code."""
    locale = Locale.parse(code)
    kinds = {
        "territory": locale.territories,
        "language": locale.languages,
        "script": locale.scripts,
        "currency": locale.currencies,
    }
    return {(kind, key): str(name) for kind, found in kinds.items() for key, name in found.items()}


def pairs(code: str) -> list[tuple[str, str]]:
    """English names and those of a language, each English name once."""
    english, other = names("en"), names(code)
    found = {english[key]: other[key] for key in sorted(english) if key in other}
    return list(found.items())


def write(file: Path, rows: list[tuple[str, str]]) -> None:
    """A table of pairs."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([("source", "target"), *rows])


def main(folder: Path) -> None:
    """Writes everything below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    known = [(f"{code}: {source}", target) for code in KNOWN for source, target in pairs(code)]
    new = pairs(NEW)
    write(folder / "names.csv", known)
    write(folder / "italian.csv", new)
    tokenizer = Tokenizer(BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer, tokenizer.decoder = Metaspace(), MetaspaceDecoder()
    trainer = BpeTrainer(vocab_size=VOCABULARY, special_tokens=[PAD, END, UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator([text for pair in known for text in pair], trainer)
    tokenizer.post_processor = TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN)
    fast.save_pretrained(folder / "model")
    sizes = {"d_model": 128, "d_kv": 32, "d_ff": 384, "num_layers": 3, "num_decoder_layers": 3, "num_heads": 4}
    still = {"dropout_rate": 0.0, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    T5Config(**sizes, **still, vocab_size=len(fast), decoder_start_token_id=0).save_pretrained(folder / "model")
    print(f"{folder}: {len(known)} pairs of {', '.join(KNOWN)}; {len(new)} of {NEW}; {len(fast)} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
