"""Visual question answering: an answer to a question about a picture, out of a closed list or in words."""

from . import ModelKind, TaskSpec

SPEC = TaskSpec(
    name="answer",
    summary=(
        "answer questions about pictures; with --maps, show where the model looked for each word of question and answer"
    ),
    reads="image",
    input="PICTURE --question QUESTION",
    output="answers",
    doing="answering",
    models={
        "vqa": ModelKind("multiattn.models.vqa:VQAConfig", "multiattn.models.vqa:VQA"),
        "single_stream": ModelKind(
            "multiattn.models.single_stream:SingleStreamConfig", "multiattn.models.single_stream:SingleStream"
        ),
    },
    pipeline="multiattn.pipelines.answer:AnswerPipeline",
    command="multiattn.cli.answer",
    evaluator="multiattn.cli.evaluate_answer",
    explainer="multiattn.pipelines.explained_answer:AnswerExplainer",
    published="BLIP or ViLT",
    layouts={
        "hf-blip": "multiattn.weights.hf_blip",
        "blip": "multiattn.weights.blip",
        "hf-vilt": "multiattn.weights.hf_vilt",
    },
    num_labels="answers",
    label_noun=("answer of the closed list", "answers of the closed list"),
    unique_labels=True,
    vocab_sizes=("question.vocab_size", "decoder.vocab_size"),
    heads={"pointing_heads": "question"},
    map_methods=("attention", "relevance", "rollout"),
    default_map_method="relevance",
    shipped="drawn shapes: their color, size, number and position",
    example_model="Salesforce/blip-vqa-base",
    short_names={
        "blip-vqa": "Salesforce/blip-vqa-base",
        "blip-vqa-large": "Salesforce/blip-vqa-capfilt-large",
        "vilt": "dandelin/vilt-b32-finetuned-vqa",
    },
    details="multiattn.cli.info_details:answerer",
)
