"""A trained model made ready for other classes or another picture size, to be fine-tuned."""

from dataclasses import replace

from ..attention.positions import resample_positions
from ..errors import ModelError
from ..models.vit import ViT


def adapt(model: ViT, *, num_classes: int | None = None, image_size: tuple[int, int] | None = None) -> ViT:
    """A copy of a model for another task. The model that is given stays as it is.

    Args:
        model: What to start from.
        num_classes: Width of the head. Where it differs, the head starts anew; where it does not, or is None, the
            head is kept.
        image_size: Height and width of the pictures, in pixels. Where the patch grid differs, learned positions are
            resampled; fixed ones need nothing.

    Raises:
        ModelError: `num_classes` is below 1, or `image_size` is no multiple of the patch size.

    Source: timm's `resample_abs_pos_embed` (bicubic, antialiased).
    """
    old = model.config
    num_classes = old.num_classes if num_classes is None else num_classes
    if num_classes < 1 and num_classes != old.num_classes:
        raise ModelError(f"`num_classes` must be at least 1, but is {num_classes} instead")
    image_size = old.image_size if image_size is None else image_size
    if any(side < 1 or side % old.patch_size for side in image_size):
        raise ModelError(
            f"`image_size` must be multiples of the patch size ({old.patch_size}), but is {image_size} instead"
        )
    adapted = ViT(replace(old, num_classes=num_classes, image_size=image_size))
    state = model.state_dict()
    if num_classes != old.num_classes:
        fresh = adapted.state_dict()
        state |= {key: fresh[key] for key in ("head.weight", "head.bias")}
    if model.positions is not None and adapted.grid(image_size) != model.positions.grid:
        state["positions.weight"] = resample_positions(
            state["positions.weight"], model.positions.grid, adapted.grid(image_size), model.positions.prefix
        )
    adapted.load_state_dict(state, strict=True)
    parameter = next(model.parameters())
    return adapted.to(device=parameter.device, dtype=parameter.dtype).train(model.training)
