"""Speech recognition: what is said in a recording, and when."""

from . import ModelKind, TaskSpec

SPEC = TaskSpec(
    name="transcribe",
    summary=(
        "write down what is said in recordings, and when; with --maps, show what the model listened to for each word"
    ),
    reads="audio",
    input="RECORDING",
    output="transcripts",
    doing="transcribing",
    models={"speech": ModelKind("multiattn.models.speech:SpeechConfig", "multiattn.models.speech:SpeechRecognizer")},
    pipeline="multiattn.pipelines.transcribe:TranscribePipeline",
    command="multiattn.cli.transcribe",
    evaluator="multiattn.cli.evaluate_transcribe",
    explainer="multiattn.pipelines.explained_speech:SpeechExplainer",
    published="Whisper",
    layouts={
        "hf-whisper": "multiattn.weights.hf_whisper",
        "whisper": "multiattn.weights.whisper",
        "ct2-whisper": "multiattn.weights.ct2_whisper",
    },
    vocab_sizes=("decoder.vocab_size",),
    num_mels="encoder.mels",
    heads={"alignment_heads": "decoder"},
    other_decoding=("ctc_weight", "vad"),
    map_methods=("attention", "lrp"),
    default_map_method="attention",
    shipped="the ten digits, spoken in English",
    example_model="openai/whisper-tiny.en",
    short_names={
        **{
            size: f"openai/whisper-{size}"
            for size in ("tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium")
        },
        "large-v1": "openai/whisper-large",
        "large-v2": "openai/whisper-large-v2",
        "large-v3": "openai/whisper-large-v3",
        "large": "openai/whisper-large-v3",  # as openai-whisper and faster-whisper take the name
        "large-v3-turbo": "openai/whisper-large-v3-turbo",
        "turbo": "openai/whisper-large-v3-turbo",
        **{
            f"distil-{size}": f"distil-whisper/distil-{size}"
            for size in ("small.en", "medium.en", "large-v2", "large-v3", "large-v3.5")
        },
    },
    details="multiattn.cli.info_details:recognizer",
    decoding_files={"hf-whisper": "generation_config.json"},
)
