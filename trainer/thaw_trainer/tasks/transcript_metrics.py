"""Metrics of transcripts, by jiwer."""


def transcript_metrics(said: list[str], heard: list[str]) -> dict[str, float]:
    """wer and cer: words, and characters, that were put in, left out or replaced, over all that were said.

    Args:
        said: what is said in each sound, none of them empty.
        heard: what the model heard.
    """
    import jiwer

    return {"wer": float(jiwer.wer(said, heard)), "cer": float(jiwer.cer(said, heard))}
