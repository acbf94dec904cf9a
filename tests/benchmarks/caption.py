"""BLIP-base at 384 px: ours and transformers' on the same random weights, a prompt and 20 new tokens."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import BlipConfig, BlipForConditionalGeneration

from multiattn.attention import ProjectedContext
from multiattn.generation import GenerationConfig, generate
from multiattn.generation.packing import lay_out_for_decoding
from multiattn.inputs.text import Word
from multiattn.maps import explain_words, measure_image_dependence
from multiattn.models import Captioner
from multiattn.models.captioner import PRESETS
from multiattn.weights.hf_blip import TABLE
from tests.parity.random_weights import randomize

from .timing import Timing, interleaved, show

TOKENS = 20
PROMPT = (30522, 1037, 3861, 1997)  # [DEC] a picture of
END = 102  # [SEP]
WORDS = [Word(f"{i:02}", 3 * i, 3 * i + 2, (i,)) for i in range(TOKENS)]  # each token a word


@dataclass(frozen=True)
class Models:
    """One set of weights in every implementation."""

    transformers: BlipForConditionalGeneration
    plain: Captioner
    """Ours as it is trained."""

    ours: Captioner
    """Ours as the pipeline lays it out on a CPU; its parameters are those of `plain`."""


def build() -> Models:
    """BLIP-base with weights that are random, but such that a caption is not one token again and again."""
    text = {"encoder_hidden_size": 768, "num_attention_heads": 12, "vocab_size": 30524, "layer_norm_eps": 1e-12}
    vision = {"image_size": 384, "layer_norm_eps": 1e-6}
    reference = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))
    reference = randomize(reference, seed=0)
    with torch.no_grad():
        reference.text_decoder.bert.embeddings.position_embeddings.weight.mul_(4)
        for name, parameter in reference.text_decoder.bert.encoder.named_parameters():
            if ".output.dense." in name:  # or all tokens would end up as what is seen of the picture
                parameter.mul_(0.3)
        reference.tie_weights()
    plain, ours = (Captioner(PRESETS["blip_base"]).eval() for _ in range(2))
    state = TABLE.to_ours(reference.state_dict(), plain.state_dict())
    for model in (plain, ours):
        model.load_state_dict(state, assign=True)
    lay_out_for_decoding(ours.decoder)
    return Models(reference, plain, ours)


def caption(rounds: int) -> None:
    """The encoder, the greedy decode, three beams, and maps of all words, for 1 and for 8 pictures."""
    models = build()
    torch.manual_seed(0)
    for batch in (1, 8):
        with torch.inference_mode():
            _batch(models, torch.randn(batch, 3, 384, 384), rounds=max(5, rounds // (4 if batch == 1 else 8)))


def _batch(models: Models, images: Tensor, *, rounds: int) -> None:
    batch = len(images)
    context = models.ours.encode(images)
    torch.testing.assert_close(context, models.transformers.vision_model(images).last_hidden_state, atol=1e-4, rtol=0)
    encoder = interleaved(_encoders(models, images), rounds=rounds)
    show(f"encoder, BLIP-base, 384 px, batch {batch}", encoder)
    decodes = {}
    for num_beams in (1, 3):
        ways = _decoders(models, context, num_beams=num_beams)
        captions = {name: run() for name, run in ways.items()}
        assert all(found == captions["transformers"] for found in captions.values()), captions
        assert all(len(set(row)) > 2 for row in captions["transformers"]), captions
        distinct = len({token for row in captions["transformers"] for token in row})
        decodes[num_beams] = interleaved(ways, rounds=rounds)
        title = "greedy" if num_beams == 1 else f"{num_beams} beams"
        show(f"decode, {title}, batch {batch}, {TOKENS} tokens ({distinct} distinct), all the same", decodes[num_beams])
        _rates(decodes[num_beams], encoder, tokens=batch * TOKENS)
    tokens = [[*PROMPT, *row] for row in captions["transformers"]]
    projected = models.ours.decoder.project_context(context)  # the decode has it, and hands it to the maps
    ways = {
        "maps": lambda: _maps(models.ours, images, projected, tokens),
        "maps with dependence": lambda: (
            _maps(models.ours, images, projected, tokens),
            _dependence(models.ours, images, tokens),
        ),
    }
    print(f"\nfor all {TOKENS} words (attention, all layers and heads), batch {batch}")
    for name, maps in interleaved(ways, rounds=rounds).items():
        shares = []
        for num_beams, timings in decodes.items():
            whole = encoder["multiattn"].cpu + timings["multiattn"].cpu
            shares.append(f"{maps.cpu / whole:.1%} of encoder and decode with {num_beams} beam{'s' * (num_beams > 1)}")
        print(f"  {name:34} {maps.cpu * 1e3:9.2f} ms; {'; '.join(shares)}", flush=True)


def _rates(decode: dict[str, Timing], encoder: dict[str, Timing], *, tokens: int) -> None:
    """Tokens a second of processor time, of the decode alone and with the encoder."""
    first = decode["transformers"].cpu + encoder["transformers"].cpu
    for name, timing in decode.items():
        whole = timing.cpu + encoder[name].cpu
        print(
            f"  {name:34} {tokens / timing.cpu:6.1f} tokens/s; "
            f"with the encoder {tokens / whole:6.1f}, {first / whole:.2f} x transformers"
        )


def _encoders(models: Models, images: Tensor) -> dict[str, Callable[[], object]]:
    return {
        "transformers": lambda: models.transformers.vision_model(pixel_values=images),
        "multiattn": lambda: models.ours.encode(images),
        "multiattn, plain weights": lambda: models.plain.encode(images),
    }


def _decoders(models: Models, context: Tensor, *, num_beams: int) -> dict[str, Callable[[], list[list[int]]]]:
    """From the encoder's tokens to captions, what is projected of the picture for the decoder included."""
    prompt = torch.tensor([PROMPT]).expand(len(context), -1)
    seen = torch.ones(context.shape[:2], dtype=torch.long)
    options = GenerationConfig(max_tokens=TOKENS, min_tokens=TOKENS, num_beams=num_beams)

    def theirs() -> list[list[int]]:
        made = models.transformers.text_decoder.generate(  # as the whole model's `generate` calls it
            input_ids=prompt,
            encoder_hidden_states=context,
            encoder_attention_mask=seen,
            eos_token_id=END,
            pad_token_id=0,
            num_beams=num_beams,
            do_sample=False,
            min_new_tokens=TOKENS,
            max_new_tokens=TOKENS,
        )
        return [row[len(PROMPT) :] for row in made.tolist()]

    def ours(decoder: nn.Module) -> list[list[int]]:
        made = generate(decoder, context, [PROMPT] * len(context), options)
        return [list(candidates[0].tokens) for candidates in made]

    return {
        "transformers": theirs,
        "multiattn": lambda: ours(models.ours.decoder),
        "multiattn, plain weights": lambda: ours(models.plain.decoder),
    }


def _maps(model: Captioner, images: Tensor, context: ProjectedContext, tokens: list[list[int]]) -> object:
    """The cross-attention of every layer and head for every word."""
    return explain_words(
        model,
        images,
        tokens,
        [WORDS] * len(tokens),
        prompt_length=len(PROMPT),
        method="attention",
        context=context,
    )


def _dependence(model: Captioner, images: Tensor, tokens: list[list[int]]) -> object:
    """How much each word depended on its picture, which a second picture is encoded for."""
    known = [[-1.0] * TOKENS] * len(tokens)  # `generate` gives them; which they are does not matter here
    return measure_image_dependence(
        model, images, tokens, [WORDS] * len(tokens), prompt_length=len(PROMPT), log_probs=known
    )
