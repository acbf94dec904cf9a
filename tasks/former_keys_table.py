"""Keys of earlier configurations by the class that takes them: old dotted key under `init_args` -> key of today."""

_EVERY_TASK = {"optimisation": "optimization"}
_GENERATION = {"decoding.beams": "decoding.num_beams", "decoding.candidates": "decoding.num_return_sequences"}

FORMER_KEYS: dict[str, dict[str, str]] = {
    "ClassifyTask": _EVERY_TASK,
    "CaptionTask": _EVERY_TASK | _GENERATION,
    "TranscribeTask": _EVERY_TASK | _GENERATION | {"normaliser": "normalizer"},
    "AnswerTask": _EVERY_TASK | _GENERATION | {"reading_weight": "bag_of_words_weight"},
}

FORMER_VALUES: dict[str, dict[str, dict[str, str]]] = {
    "TranscribeTask": {"preprocessing.scale": {"normalised": "normalized"}},
}
"""By class and key of today: the former value, and the value of today."""
