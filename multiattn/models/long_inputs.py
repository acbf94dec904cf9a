"""What the encoders of pictures and of speech share for long inputs: the options, and the attention and mask of them.

Notation: b batch, n tokens, g global tokens. Sources: Longformer (Beltagy et al. 2020); Reformer (Kitaev et al. 2020).
"""

from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..attention import Chunking, LSHScore, Mask, Rotary, Tap
from ..attention.tap import Probe
from ..blocks import Streams, TransformerBlock, run_reversible
from ..checks import check_at_least, check_rules

AttentionKind = Literal["full", "window", "lsh"]


def check_long_inputs(config: Any) -> None:
    """Check the options for long inputs, and say that the attention is a window where one is given.

    Raises:
        ValueError: One is out of range, or belongs to another kind of attention; the message names it.
    """
    if config.window is not None and config.attention == "full":
        object.__setattr__(config, "attention", "window")
    check_at_least(config, 0, ("global_tokens", *(() if config.window is None else ("window",))))
    check_at_least(config, 1, ("dilation", "lsh_chunk", "lsh_rounds"))
    has_window, kind = config.attention == "window", config.attention
    check_rules(
        config,
        ("window", has_window == (config.window is not None), f"{'a number' if has_window else 'None'} for {kind!r}"),
        ("dilation", has_window or config.dilation == 1, f"1 without a window ({kind!r})"),
        ("global_tokens", has_window or config.global_tokens == 0, f"0 without a window ({kind!r})"),
    )


def attention_options(config: Any, index: int) -> dict[str, Any]:
    """Return the arguments of a block's `Attention` that the options ask for."""
    if config.attention != "lsh":
        return {}
    score = LSHScore(
        config.num_heads,
        config.dim // config.num_heads,
        chunking=Chunking(config.lsh_chunk),
        rounds=config.lsh_rounds,
        seed=index,  # rotations of its own, so that what one block misses another may find
    )
    return {"shared_qk": True, "score": score}


def long_mask(config: Any, *, global_tokens: Tensor | None = None, keys: Tensor | None = None) -> Mask:
    """Return the mask of the blocks' attention: the window of the options, and the padding."""
    return Mask(window=config.window, dilation=config.dilation, global_tokens=global_tokens, keys=keys)


def first_tokens(count: int, *, device: torch.device) -> Int64[Tensor, "1 g"] | None:
    """Return the positions of the first tokens, of all items; None where the count is 0."""
    return torch.arange(count, device=device)[None] if count else None


def spread_tokens(lengths: Int64[Tensor, " b"], count: int) -> Int64[Tensor, "b g"] | None:
    """Return positions at equal distances in each item, as many as fit; None where the count is 0.

    They depend on an item's own length, so that it gets the same result in every batch.
    """
    if not count:
        return None
    steps = torch.arange(count, device=lengths.device)
    of_all = (2 * steps + 1) * lengths[:, None] // (2 * count)  # (b, g), each in the middle of its part
    again = torch.zeros_like(of_all, dtype=torch.bool)
    again[:, 1:] = of_all[:, 1:] == of_all[:, :-1]
    return of_all.masked_fill(again | (of_all >= lengths[:, None]), -1)


def run_two_streams(
    blocks: nn.ModuleList, x: Float[Tensor, "b n D"], *, mask: Mask, rotary: Rotary | None, tap: Tap | Probe | None
) -> Float[Tensor, "b n D"]:
    """Run blocks as reversible ones, on the same tokens twice; return the mean of the two streams."""
    steps = [block for block in blocks if isinstance(block, TransformerBlock)]
    first, second = run_reversible(steps, Streams(x, x), mask=mask, rotary=rotary, tap=tap)
    return (first + second) / 2
