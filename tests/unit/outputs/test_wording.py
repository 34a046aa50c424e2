"""What is written for people."""

from __future__ import annotations

from thaw_trainer.outputs.wording import in_words, refined_texts


def test_names_of_facts_are_written_in_words() -> None:
    told = [in_words(name) for name in ("read", "tooLongTrain", "windowsValidation", "unknownCharacters")]
    assert told == ["Read", "Too long train", "Windows validation", "Unknown characters"]


def test_a_soup_says_what_it_gained_and_of_what_it_is_made() -> None:
    soup = {"members": ["trial-0003", "trial-0001"], "tried": 4, "alone": 0.71, "soup": 0.73}
    assert refined_texts({"soup": soup})["soup"] == (
        "0.7300 on validation instead of 0.7100 of the best trial alone: the average of trial-0003, trial-0001"
    )
    alone = soup | {"members": ["trial-0003"], "soup": 0.71}
    assert (
        refined_texts({"soup": alone})["soup"]
        == "no average of 4 trials is better than the 0.7100 of the best trial alone"
    )


def test_a_refit_says_on_what_and_for_how_long() -> None:
    told = refined_texts({"refit": {"rows": 90, "epochs": 3, "seconds": 1.5}})
    assert told == {"refit": "trained once more on 90 rows, validation among them, for 3 epochs"}
    assert refined_texts({}) == {}
