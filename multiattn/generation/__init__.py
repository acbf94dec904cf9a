"""The decoding loop, and the ways to find a text in it: greedy, sampling, beams, under constraints."""

from .config import Generated, GenerationConfig, stated_options
from .generate import Decoder, generate
from .logits_processors import LogitsProcessor
from .ranking import rank

__all__ = ["LogitsProcessor", "Decoder", "GenerationConfig", "Generated", "generate", "rank", "stated_options"]
