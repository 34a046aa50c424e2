"""Makes the example's lists and its model without weights, from the names that Python has of Unicode's characters;
nothing is downloaded.

    python make_data.py data

- common.csv: names of a few characters that follow each other, and what they have in common, which the small model is
  first trained to say: "brahmi letter ma; brahmi letter ya", "brahmi letter";
- counted.csv: other lists, summed up in another way, which it has never seen: "2 of brahmi letter";
- model/: a tokenizer fitted on common.csv, and the configuration of a small T5.
"""

import csv
import hashlib
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast, T5Config

FEWEST, MOST = 2, 4
"""Names of a list."""
LONGEST = 7
"""Words of a name."""
COMMON, COUNTED = 6000, 1000
VOCABULARY = 1000
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"


def order(text: str) -> int:
    """A number that depends on nothing but the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def names() -> Iterator[str]:
    """The characters' names in order, without those that a number or a rule gives."""
    for point in range(sys.maxunicode + 1):
        name = unicodedata.name(chr(point), "").lower()
        if name.startswith("hangul syllable") or any(each.isdigit() for each in name):
            continue
        if name and len(name.split()) <= LONGEST:
            yield name


def shared(listed: list[str]) -> int:
    """How many words the names of a list begin with together."""
    words = [name.split() for name in listed]
    count = 0
    while all(len(each) > count + 1 and each[count] == words[0][count] for each in words):
        count += 1
    return count


def lists() -> Iterator[tuple[str, str, str]]:
    """A text, and both its summaries; each name is in one list only."""
    every = list(names())
    start = 0
    while start + MOST <= len(every):
        count = FEWEST + order(every[start]) % (MOST - FEWEST + 1)
        listed = every[start : start + count]
        common = shared(listed)
        if common:
            start += count
            what = " ".join(listed[0].split()[:common])
            yield "; ".join(listed), what, f"{count} of {what}"
        else:
            start += 1


def write(file: Path, rows: list[tuple[str, str]]) -> None:
    """A table of texts and summaries."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([("text", "summary"), *rows])


def main(folder: Path) -> None:
    """Writes everything below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted(lists(), key=lambda row: order(row[0]))
    common = [(text, what) for text, what, _ in found[COUNTED : COUNTED + COMMON]]
    counted = [(text, summary) for text, _, summary in found[:COUNTED]]
    write(folder / "common.csv", common)
    write(folder / "counted.csv", counted)
    tokenizer = Tokenizer(BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer, tokenizer.decoder = Metaspace(), MetaspaceDecoder()
    special = [PAD, END, UNKNOWN]
    trainer = BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=list("0123456789:;"), show_progress=False
    )
    tokenizer.train_from_iterator([text for text, _ in common], trainer)
    tokenizer.post_processor = TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN)
    fast.save_pretrained(folder / "model")
    sizes = {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}
    still = {"dropout_rate": 0.0, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    T5Config(**sizes, **still, vocab_size=len(fast), decoder_start_token_id=0).save_pretrained(folder / "model")
    print(f"{folder}: {len(common)} lists and what they have in common, {len(counted)} to count; {len(fast)} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
