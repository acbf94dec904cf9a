"""Image classification: what is in a picture, out of the labels that the model knows."""

from . import ModelKind, TaskSpec

SPEC = TaskSpec(
    name="classify",
    summary="say what is in pictures; with --maps, show where the model looked",
    reads="image",
    input="PICTURE",
    output="labels",
    doing="classifying",
    models={"vit": ModelKind("multiattn.models.vit:ViTConfig", "multiattn.models.vit:ViT")},
    pipeline="multiattn.pipelines.classify:ClassifyPipeline",
    command="multiattn.cli.classify",
    evaluator="multiattn.cli.evaluate_classify",
    explainer="multiattn.pipelines.explained:ClassExplainer",
    published="timm or Hugging Face ViT",
    layouts={
        "timm": "multiattn.weights.timm_vit",
        "hf-vit": "multiattn.weights.hf_vit",
        "hf-dinov2": "multiattn.weights.hf_dinov2",
        "hf-deit": "multiattn.weights.hf_deit",
        "hf-beit": "multiattn.weights.hf_beit",
        "hf-dinov3": "multiattn.weights.hf_dinov3",
        "hf-clip-vision": "multiattn.weights.hf_clip_vision",
        "hf-siglip-vision": "multiattn.weights.hf_siglip_vision",
    },
    num_labels="num_classes",
    scores_labels=True,
    map_methods=("attention", "rollout", "relevance", "lrp", "gradient_x_input"),
    default_map_method="lrp",
    shipped="the ten classes of CIFAR-10: airplane, automobile, bird, cat, deer, dog, frog, horse, ship and truck",
    example_model="timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
    short_names={
        "vit-tiny": "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        "vit-small": "timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
        "vit-base": "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
        "vit-base-hf": "google/vit-base-patch16-224",
    },
    details="multiattn.cli.info_details:classifier",
)
