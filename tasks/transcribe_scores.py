"""What a recognizer writes about the recordings of a split, scored together."""

from collections.abc import Callable, Sequence

from multiattn.metrics.speech import Normalizer, normalizer_of, speech_scores


def wer_and_cer(normalizer: Normalizer) -> Callable[[Sequence[str], Sequence[Sequence[str]]], dict[str, float]]:
    """What scores transcripts against their texts, one a recording, as a `Predictions` asks.

    Args:
        normalizer: What is done to both before they are compared.
    """
    normalize = normalizer_of(normalizer)

    def score(written: Sequence[str], texts: Sequence[Sequence[str]]) -> dict[str, float]:
        found = speech_scores(written, [one for (one,) in texts], normalize=normalize)
        return {"wer": found.wer, "cer": found.cer}

    return score
