"""A start for fine-tuning: a vision transformer for other classes or another image size."""

from dataclasses import replace

from ..attention.positions import resample_positions
from ..checks import require
from ..models.vit import ViT


def adapt(model: ViT, *, num_classes: int | None = None, image_size: tuple[int, int] | None = None) -> ViT:
    """Return a copy of a model for other classes or another image size; the given model stays as it is.

    Args:
        model: The model to start from.
        num_classes: Width of the head. Where it changes, the head is new; otherwise, or if None, the head is kept.
        image_size: Height and width of the images, in pixels. Where the patch grid changes, learned positions are
            resampled; fixed ones need no change.

    Raises:
        ModelError: `num_classes` is below 1, or `image_size` is no multiple of the patch size.

    Source: timm's `resample_abs_pos_embed` (bicubic, antialiased).
    """
    old = model.config
    num_classes = old.num_classes if num_classes is None else num_classes
    require(num_classes >= 1 or num_classes == old.num_classes, "num_classes", must="at least 1", value=num_classes)
    image_size = old.image_size if image_size is None else image_size
    is_whole = all(side >= 1 and side % old.patch_size == 0 for side in image_size)
    require(is_whole, "image_size", must=f"multiples of the patch size ({old.patch_size})", value=image_size)
    adapted = ViT(replace(old, num_classes=num_classes, image_size=image_size))
    state = model.state_dict()
    if num_classes != old.num_classes:
        fresh = adapted.state_dict()
        state |= {key: fresh[key] for key in ("head.weight", "head.bias")}
    if model.positions is not None and adapted.grid(image_size) != model.positions.grid:
        state["positions.weight"] = resample_positions(
            state["positions.weight"],
            model.positions.grid,
            adapted.grid(image_size),
            model.positions.prefix,
            resampling=old.resampling,
        )
    adapted.load_state_dict(state, strict=True)
    parameter = next(model.parameters())
    return adapted.to(device=parameter.device, dtype=parameter.dtype).train(model.training)
