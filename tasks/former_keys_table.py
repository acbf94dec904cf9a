"""Options of tasks and data modules that were named differently before November 2026, for `former_keys`.

Keys are given under `init_args`, with dots; a key stands for everything below it (`encoder.dropout` moves with
`encoder`). Class names are those of today.
"""

_TRAINING = {"optimisation": "optimization"}

_DECODING = {
    "decoding.beams": "decoding.num_beams",
    "decoding.candidates": "decoding.num_return_sequences",
    "decoding.renormalise": "decoding.renormalize",
}

_IMAGE = {name: f"vision.{name}" for name in ("image_size", "mean", "std")}

_ENCODER = {
    "encoder": "vision.preset",
    "encoder_pretrained": "vision.pretrained",
    "encoder_overrides": "vision.overrides",
    "encoder_lr_share": "vision.lr_share",
    "unfreeze_epoch": "vision.unfreeze_epoch",
}

_BATCHES = {
    "batch_size": "batches.size",
    "eval_batch_size": "batches.eval_size",
    "num_workers": "batches.num_workers",
    "max_bad_share": "batches.max_bad_share",
}

FORMER_KEYS: dict[str, dict[str, str]] = {
    "ClassifyTask": _TRAINING | _IMAGE | {"architecture": "vision.preset", "overrides": "vision.overrides"},
    "CaptionTask": _TRAINING | _DECODING | _IMAGE | _ENCODER | {"validation_captions": "validation_texts"},
    "TranscribeTask": _TRAINING
    | _DECODING
    | {
        "architecture": "audio.preset",
        "encoder": "audio.overrides",
        "preprocessing": "audio.preprocessing",
        "context": "audio.context",
        "encoder_lr_share": "audio.lr_share",
        "unfreeze_epoch": "audio.unfreeze_epoch",
        "normaliser": "normalizer",
        "validation_transcripts": "validation_texts",
    },
    "AnswerTask": _TRAINING | _DECODING | _IMAGE | _ENCODER | {"reading_weight": "bag_of_words_weight"},
    "ClassifyData": _BATCHES,
    "CaptionData": _BATCHES,
    "TranscribeData": _BATCHES,
    "AnswerData": _BATCHES,
}
"""By class: the former key, and the key of today."""

FORMER_VALUES: dict[str, dict[str, dict[str, str]]] = {
    "TranscribeTask": {"audio.preprocessing.scale": {"normalised": "normalized"}},
}
"""By class and key of today: the former value, and the value of today."""
