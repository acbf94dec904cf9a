"""How the weights of a model that reads or writes texts lie in memory while it does."""

from ..blocks.packed import PackedLinear, PackedWeight, lay_out_for_one_row, pack_linears, worth_packing
from ..models.text_decoder import TextDecoder
from ..models.text_encoder import TextEncoder
from ..models.vit import ViT


def lay_out_for_decoding(decoder: TextDecoder) -> None:
    """Lay out and pack a decoder's weights for few rows, in place: for CPUs, and a decoder that learns no more.

    Results stay to fp32 rounding, and what is saved stays as it is. It costs the decoder's memory once more (BLIP-base:
    490 MB). On another device or in another precision nothing is done.
    """
    pack_linears(decoder)
    if isinstance(decoder.head, PackedLinear):
        decoder.project = decoder.head.packed
    elif decoder.head is None and worth_packing(decoder.embedding.weight):
        lay_out_for_one_row(decoder.embedding.weight)  # reading a token's row takes microseconds longer
        decoder.project = PackedWeight(decoder.embedding.weight)


def lay_out_for_reading(encoder: TextEncoder | ViT) -> None:
    """Pack the weights of an encoder of questions or pictures, in place, as `lay_out_for_decoding` does it.

    A picture's many tokens gain less by it than a question's few: BLIP-base's encoder of 577 tokens is 1.09 times as
    fast, and takes 340 MB more.
    """
    pack_linears(encoder)
