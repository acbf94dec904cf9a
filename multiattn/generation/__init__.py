"""The decoding loop, and the ways to find a text in it: greedy, sampling, beams, under constraints."""

from .constraints import Constraint
from .loop import Decoder, generate
from .options import DecodingOptions, Generated
from .ranking import rank

__all__ = ["Constraint", "Decoder", "DecodingOptions", "Generated", "generate", "rank"]
