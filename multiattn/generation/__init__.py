"""Text generation: one decoding loop (`generate`) with greedy decoding, sampling and beam search, and ranking of texts.

The way of a step: the decoder's logits -> `logits_processors` and, if any, a second scorer such as `ctc` -> the search
(`greedy` or `beam_search`, which share the terms of `search`) -> the next tokens, and which rows of the cache stay.
`config`, `texts` and `beams` hold what does not depend on what computes: options, results, and the rules of a search.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .config import Generated, GenerationConfig, stated_options
    from .decoder_loop import Decoder, generate
    from .logits_processors import LogitsProcessor
    from .ranking import rank

__all__ = ["LogitsProcessor", "Decoder", "GenerationConfig", "Generated", "generate", "rank", "stated_options"]

__getattr__ = lazily(
    __name__,
    {
        ".config": "Generated GenerationConfig stated_options",
        ".decoder_loop": "Decoder generate",
        ".logits_processors": "LogitsProcessor",
        ".ranking": "rank",
    },
)
