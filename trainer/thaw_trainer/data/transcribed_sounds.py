"""Sounds with what is said in them to a prepared store; the characters are fitted on train."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from thaw_api.data import DataSpec
from thaw_trainer.data.examples import SPLITS, fingerprint
from thaw_trainer.data.sounds import fit_classes, units
from thaw_trainer.data.store import Made
from thaw_trainer.data.transcripts import read_transcripts, sounds_that_fit
from thaw_trainer.models.speech_recognizer import BLANK, DELIMITER, UNKNOWN, fit_vocabulary


def make_store(data: DataSpec, paths: dict[str, Path], rate: int) -> Made:
    """Facts and tables of a store: `samples` (16 bits), `characters` (numbers of the vocabulary) and `text`."""
    read = read_transcripts(data, paths)
    sounds = {name: sounds_that_fit(data, read, name, rate) for name in SPLITS}
    splits = read.splits
    vocabulary = fit_vocabulary(list(splits["train"].columns["text"]))
    number = {character: index for index, character in enumerate(vocabulary)}
    tables, lengths, unknown = {}, {}, 0
    for name, rows in splits.items():
        samples = sounds.pop(name)
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
    read.counts["unknownCharacters"] = unknown
    assert vocabulary[0] == BLANK
    facts = {
        "vocabulary": vocabulary,
        "fingerprint": fingerprint(splits, ("content", "text")),
        "widths": fit_classes(lengths),
    }
    return read.made(facts, tables)
