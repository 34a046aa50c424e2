"""Sounds with what is said in them to a prepared store, for a model that writes transcripts token after token."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from thaw_api.data import DataSpec
from thaw_trainer.data.batches import fit_widths
from thaw_trainer.data.examples import SPLITS, fingerprint
from thaw_trainer.data.spectra import spectra_of
from thaw_trainer.data.store import Made
from thaw_trainer.data.transcripts import keep_those_that_fit, read_transcripts, sounds_that_fit
from thaw_trainer.models.speech_writer import Ears

_ROWS_OF_A_CLASS = 16


def make_store(data: DataSpec, paths: dict[str, Path], ears: Ears, most: int) -> Made:
    """Facts and tables of a store: `spectrum` (see `spectra_of`), `labels` (tokens behind the start) and `text`.

    Rows differ in the length of their labels alone, so that is what their classes are of.

    Args:
        most: tokens that the decoder has positions for; `data.batching.maxTargetLength` may say less. A row with more
            is left out, and counted: a transcript that is cut would teach to stop early.

    Raises:
        TrainerError: whatever is wrong with the data.
    """
    extractor, limit = ears.extractor, min(most, data.batching.max_target_length or most)
    read = read_transcripts(data, paths)
    tables, lengths = {}, {}
    for name in SPLITS:
        every = read.splits[name]
        tokens = [row[1:] for row in ears.tokenizer(list(every.columns["text"]), verbose=False)["input_ids"]]
        fits = [len(row) <= limit for row in tokens]
        too_long = keep_those_that_fit(read, name, fits, f"{limit} tokens", "spec.data.batching.maxTargetLength")
        read.counts[f"textTooLong{name.capitalize()}"] = too_long
        seconds = extractor.n_samples / extractor.sampling_rate
        samples = sounds_that_fit(data, read, name, extractor.sampling_rate, seconds)
        rows = read.splits[name]
        labels_of = dict(zip(every.ids.tolist(), tokens, strict=True))
        labels = [labels_of[number] for number in rows.ids.tolist()]
        tables[name] = pa.table(
            {
                "id": pa.array(rows.ids, pa.int64()),
                "spectrum": pa.array(spectra_of(rows.ids, samples, extractor), pa.large_list(pa.float32())),
                "labels": pa.array(labels, pa.list_(pa.int32())),
                "text": pa.array(list(rows.columns["text"]), pa.large_string()),
            }
        )
        lengths[name] = np.asarray([len(each) for each in labels], dtype=np.int32)
    longest = max(int(each.max()) for each in lengths.values())
    facts = {
        "writes": True,
        "fingerprint": fingerprint(read.splits, ("content", "text")),
        "widths": fit_widths(lengths["train"], longest, _ROWS_OF_A_CLASS),
        "padToken": ears.tokenizer.pad_token_id,
        "longestTarget": int(lengths["train"].max()),
        "bins": extractor.feature_size,
        "frames": extractor.nb_max_frames,
    }
    return read.made(facts, tables)
