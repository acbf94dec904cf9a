"""Matching: how well texts fit a picture, and labels of one's own for pictures."""

from . import ModelKind, TaskSpec

SPEC = TaskSpec(
    name="match",
    summary="say how well texts fit pictures; with --maps, show by which patches and words",
    reads="image",
    input="PICTURE --text TEXT",
    output="matches",
    doing="matching",
    models={
        "two_towers": ModelKind("multiattn.models.two_towers:TwoTowersConfig", "multiattn.models.two_towers:TwoTowers"),
        "blip_matcher": ModelKind(
            "multiattn.models.blip_matcher:BlipMatcherConfig",
            "multiattn.models.blip_matcher:BlipMatcher",
            pipeline="multiattn.pipelines.match_blip:BlipMatchPipeline",
        ),
    },
    pipeline="multiattn.pipelines.match:MatchPipeline",
    command="multiattn.cli.match",
    evaluator="multiattn.cli.evaluate_match",
    explainer="multiattn.pipelines.explained_texts:TextExplainer",
    published="CLIP, SigLIP, open_clip or BLIP",
    layouts={
        "hf-clip": "multiattn.weights.hf_clip",
        "hf-siglip": "multiattn.weights.hf_siglip",
        "open-clip": "multiattn.weights.open_clip",
        "hf-blip-itm": "multiattn.weights.hf_blip_matcher",
    },
    vocab_sizes=("text.vocab_size",),
    map_methods=("attention", "rollout", "relevance", "lrp"),
    default_map_method="relevance",
    shipped="photographs of people and dogs outdoors (Flickr8k)",
    example_model="openai/clip-vit-base-patch32",
    instead_of={"classify": "it needs labels of your own, `--labels 'a cat' 'a dog'` (in Python, `.zero_shot([...])`)"},
    details="multiattn.cli.info_details:matcher",
)
