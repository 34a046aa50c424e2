"""Sounds with what is said in them to a prepared store; the characters are fitted on train."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from thaw_api.data import DataSpec
from thaw_api.steps import SOUND_FEATURES, read_steps
from thaw_trainer.data.examples import read_splits
from thaw_trainer.data.sounds import decoded, fit_classes, reader, units
from thaw_trainer.data.store import Made, digest
from thaw_trainer.errors import DATA_INVALID, TrainerError
from thaw_trainer.models.speech_recognizer import BLANK, DELIMITER, UNKNOWN, fit_vocabulary


def make_store(data: DataSpec, paths: dict[str, Path], rate: int) -> Made:
    """Facts and tables of a store: `samples` (16 bits), `characters` (numbers of the vocabulary) and `text`."""
    read = read_splits(data, paths, reader("text", from_folders=False))
    sounds = {name: decoded(read, name, rate) for name in list(read.splits)}
    splits, counts = read.splits, read.counts
    vocabulary = fit_vocabulary(list(splits["train"].columns["text"]))
    number = {character: index for index, character in enumerate(vocabulary)}
    limits = [step.max_seconds for _, step in read_steps(data.features, SOUND_FEATURES)]
    tables, lengths, unknown, fingerprint = {}, {}, 0, {}
    for name, rows in splits.items():
        samples = sounds[name]
        kept = [i for i, each in enumerate(samples) if not limits or len(each) <= min(limits) * rate]
        if not kept:
            raise TrainerError(
                DATA_INVALID, f"every row of {name} is longer than {min(limits):g} s", "spec.data.features"
            )
        counts[f"tooLong{name.capitalize()}"] = len(rows) - len(kept)
        counts[name] = len(kept)
        rows, samples = rows.take(np.asarray(kept)), [samples[i] for i in kept]
        texts = rows.columns["text"]
        characters = [[number.get(each, number[UNKNOWN]) for each in text.replace(" ", DELIMITER)] for text in texts]
        unknown += sum(row.count(number[UNKNOWN]) for row in characters)
        tables[name] = pa.table(
            {
                "id": pa.array(rows.ids, pa.int64()),
                "samples": pa.array(samples, pa.large_list(pa.int16())),
                "characters": pa.array(characters, pa.list_(pa.int32())),
                "text": pa.array(texts, pa.string()),
            }
        )
        lengths[name] = units(np.asarray([len(each) for each in samples], dtype=np.int64), rate)
        fingerprint[name] = (rows.columns["content"], texts, rows.ids.tolist())
    counts["unknownCharacters"] = unknown
    assert vocabulary[0] == BLANK
    facts = {
        "vocabulary": vocabulary,
        "fingerprint": digest(fingerprint),
        "widths": fit_classes(lengths),
    }
    return read.made(facts, tables)
