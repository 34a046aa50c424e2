"""From documents to rows: what is joined, what goes on in another row, what is cut and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.tiny_causal import END, PACK, CausalJob, documents, save_causal_tokenizer, write_jsonl
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.errors import TrainerError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> CausalJob:
    """A job that no test changes."""
    return CausalJob(tmp_path_factory.mktemp("job"))


def rows_of(tiny: CausalJob, changes: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Facts and tables of a store."""
    store = PreparedStore(tiny.store(tiny.spec(changes)))
    return store.facts, {name: store.table(name).to_pydict() for name in ("train", "validation", "test")}


def texts_of(table: dict[str, Any]) -> list[list[int]]:
    """Token ids of each text of each row."""
    found = []
    for ids, lengths in zip(table["input_ids"], table["lengths"], strict=True):
        found += [part.tolist() for part in np.split(np.asarray(ids), np.cumsum(lengths)[:-1])]
    return found


def test_every_document_is_a_row_with_its_end_and_all_but_its_first_token_counts(tiny: CausalJob) -> None:
    facts, tables = rows_of(tiny)
    assert facts["rows"] == {name: facts["counts"][name] for name in tables}
    for table in tables.values():
        assert all(ids[-1] == END for ids in table["input_ids"])
        assert all(counted == [0] + [1] * (len(counted) - 1) for counted in table["counted"])
    assert facts["tokens"] == {name: sum(map(sum, table["counted"])) for name, table in tables.items()}


def test_packed_rows_hold_the_same_training_texts_and_held_out_rows_are_not_joined(tiny: CausalJob) -> None:
    (plain, before), (packed, after) = rows_of(tiny), rows_of(tiny, PACK)
    assert sorted(texts_of(before["train"])) == sorted(texts_of(after["train"]))
    assert packed["rows"]["train"] < plain["rows"]["train"]
    assert packed["tokens"] == plain["tokens"]
    assert packed["widths"] == [40]
    for split in ("validation", "test"):
        assert before[split] == after[split]
    used = sum(len(ids) for ids in after["train"]["input_ids"])
    assert packed["padding"] == pytest.approx(1 - used / (40 * packed["rows"]["train"]))
    assert packed["padding"] < 0.2


def test_a_long_document_goes_on_in_the_next_row_and_no_token_is_lost(tmp_path: Path) -> None:
    long = CausalJob(tmp_path, [{"text": text} for text in documents(40, longest=120)], n_positions=160)
    whole, _ = rows_of(long, {"data.batching": {"maxLength": 512}})
    cut, tables = rows_of(long, {"data.batching": {"maxLength": 16}})
    assert cut["tokens"] == whole["tokens"]
    assert cut["counts"]["cutAtMaxLength"] == 0
    assert max(len(ids) for ids in tables["train"]["input_ids"]) == 16
    assert len(set(tables["train"]["id"])) < len(tables["train"]["id"])


def test_rows_are_as_long_as_the_model_has_positions(tiny: CausalJob) -> None:
    assert rows_of(tiny)[0]["maxTokens"] == 48


def test_a_pair_is_cut_at_its_end_and_left_out_when_nothing_of_it_counts(tmp_path: Path) -> None:
    rows = [{"prompt": text, "completion": " red green"} for text in documents(30, longest=9)]
    rows += [{"prompt": f"{text} {text}", "completion": " blue"} for text in documents(5, seed=1, longest=28)[:1]]
    rows += [{"prompt": " ".join(["far"] * 20 + ["near"] * n), "completion": " blue"} for n in range(4)]
    facts, tables = rows_of(CausalJob(tmp_path, rows), {"data.batching": {"maxLength": 12}})
    counts = facts["counts"]
    assert counts["cutAtMaxLength"] >= counts["withoutCountedTokens"] >= 4
    assert sum(counts[name] for name in tables) == counts["read"] - counts["withoutCountedTokens"]
    assert all(sum(counted) for table in tables.values() for counted in table["counted"])


def test_a_split_of_which_nothing_counts_is_refused(tmp_path: Path) -> None:
    rows = [{"prompt": f"{text} {text} red", "completion": " blue"} for text in documents(20, longest=9)]
    with pytest.raises(TrainerError, match=r"no example of \w+ has a token that counts within 8 tokens") as caught:
        rows_of(CausalJob(tmp_path, rows), {"data.batching": {"maxLength": 8}})
    assert caught.value.field == "spec.data.batching.maxLength"


def test_held_out_documents_that_are_trained_on_leave_their_split(tmp_path: Path) -> None:
    tiny = CausalJob(tmp_path)
    texts = documents()
    for name, own in (("validation", texts[:4]), ("test", texts[2:6])):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"text": text} for text in (*own, f"{name} red green")])
    write_jsonl(tmp_path / "train.jsonl", [{"text": text} for text in texts[:3]])
    facts, _ = rows_of(tiny, {name: {"uri": f"file:{name[5:]}.jsonl"} for name in ("data.validation", "data.test")})
    assert facts["counts"]["duplicatesOutOfValidation"] == 3
    assert facts["counts"]["duplicatesOutOfTest"] == 2


def test_the_baseline_is_the_training_tokens_frequencies(tiny: CausalJob) -> None:
    facts, tables = rows_of(tiny)
    seen = {name: [token for ids in table["input_ids"] for token in ids[1:]] for name, table in tables.items()}
    size = 19
    share = [(seen["train"].count(token) + 1) / (len(seen["train"]) + size) for token in range(size)]
    expected = np.exp(-np.mean([np.log(share[token]) for token in seen["test"]]))
    assert facts["baseline"]["test"] == pytest.approx(expected)


def test_a_tokenizer_that_is_too_large_for_the_model_is_refused(tmp_path: Path) -> None:
    tiny = CausalJob(tmp_path, vocab_size=10, bos_token_id=1, eos_token_id=2)
    with pytest.raises(TrainerError, match="the tokenizer has 19 tokens, the model has embeddings for 10"):
        rows_of(tiny)


def test_another_chat_template_is_another_store(tmp_path: Path) -> None:
    tiny = CausalJob(tmp_path)
    before = tiny.store(tiny.spec())
    save_causal_tokenizer(tmp_path / "model", "{{ messages }}")
    assert tiny.store(tiny.spec()) != before


def test_a_folder_of_texts_is_read_by_content(tmp_path: Path) -> None:
    tiny = CausalJob(tmp_path)
    for number, text in enumerate(documents()):
        (tmp_path / "texts" / f"{number}.txt").parent.mkdir(exist_ok=True)
        (tmp_path / "texts" / f"{number}.txt").write_text(text, encoding="utf-8")
    spec = tiny.spec({"data.train": {"uri": "file:texts"}})
    before = tiny.store(spec)
    assert PreparedStore(before).facts["counts"]["read"] == 60
    (tmp_path / "texts" / "0.txt").write_text("red green blue", encoding="utf-8")
    assert tiny.store(spec) != before
