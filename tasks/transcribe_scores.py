"""What a recogniser writes about the recordings of a split, scored together."""

from collections.abc import Callable, Sequence

from multiattn.metrics.speech import Normaliser, normaliser_of, speech_scores


def wer_and_cer(normaliser: Normaliser) -> Callable[[Sequence[str], Sequence[Sequence[str]]], dict[str, float]]:
    """What scores transcripts against their texts, one a recording, as a `WrittenTexts` asks.

    Args:
        normaliser: What is done to both before they are compared.
    """
    normalise = normaliser_of(normaliser)

    def score(written: Sequence[str], texts: Sequence[Sequence[str]]) -> dict[str, float]:
        found = speech_scores(written, [one for (one,) in texts], normalise=normalise)
        return {"wer": found.wer, "cer": found.cer}

    return score
