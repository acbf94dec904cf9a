"""One attention block, four tasks, and a true picture of where the model looked.

    import multiattn

    classify = multiattn.load("classify")
    result = classify("cat.jpg", maps="relevance")
    result.label, result.score
    result.maps[0].save_png("cat.png")

    caption = multiattn.load("caption")
    caption("cat.jpg", maps="attention").save_html("cat.html")

    transcribe = multiattn.load("transcribe")
    transcribe("talk.mp3", words=True).words

    answer = multiattn.load("answer")
    answer("cat.jpg", "what color is the sofa?", maps="relevance").answer

    # a module of timm or transformers that is in memory already
    multiattn.explain(timm.create_model("vit_tiny_patch16_224", pretrained=True), "cat.jpg").maps[0].save_png("cat.png")

Importing the package is fast: torch is imported when one of its functions is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pipelines.explaining import explain, from_module
    from .pipelines.loading import load

__all__ = ["__version__", "explain", "from_module", "load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name in ("explain", "from_module", "load"):
        from . import pipelines  # imports torch

        return getattr(pipelines, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
