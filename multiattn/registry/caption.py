"""Image captioning: a sentence about a picture."""

from . import ModelKind, TaskSpec

SPEC = TaskSpec(
    name="caption",
    summary="write a sentence about each picture; with --maps, show where the model looked for each word",
    reads="image",
    input="PICTURE",
    output="captions",
    doing="captioning",
    models={
        "captioner": ModelKind("multiattn.models.captioner:CaptionerConfig", "multiattn.models.captioner:Captioner")
    },
    pipeline="multiattn.pipelines.caption:CaptionPipeline",
    command="multiattn.cli.caption",
    evaluator="multiattn.cli.evaluate_caption",
    explainer="multiattn.pipelines.explained:WordExplainer",
    published="BLIP, ViT-GPT2 or TrOCR",
    layouts={
        "hf-blip": "multiattn.weights.hf_blip",
        "blip": "multiattn.weights.blip",
        "trocr": "multiattn.weights.trocr",
        "vit-gpt2": "multiattn.weights.vit_gpt2",
    },
    vocab_sizes=("decoder.vocab_size",),
    other_decoding=("prompt",),
    map_methods=("attention", "relevance", "lrp", "rollout"),
    default_map_method="relevance",
    shipped="photographs of people and dogs outdoors (Flickr8k)",
    example_model="Salesforce/blip-image-captioning-base",
    short_names={
        "blip-base": "Salesforce/blip-image-captioning-base",
        "blip-large": "Salesforce/blip-image-captioning-large",
        "vit-gpt2": "nlpconnect/vit-gpt2-image-captioning",
        "trocr-base": "microsoft/trocr-base-printed",
        "trocr-handwritten": "microsoft/trocr-base-handwritten",
    },
    details="multiattn.cli.info_details:captioner",
)
