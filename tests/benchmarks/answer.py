"""BLIP VQA base at 384 px: ours and transformers' on the same random weights, 1 and 20 questions on one picture."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import BlipConfig, BlipForQuestionAnswering

from multiattn.attention import ProjectedContext
from multiattn.generation import GenerationConfig, generate
from multiattn.generation.packing import lay_out_for_decoding, lay_out_for_reading
from multiattn.inputs.text import Word
from multiattn.maps import explain_answer, read_questions
from multiattn.models import VQA
from multiattn.models.vqa import PRESETS
from multiattn.weights.hf_blip import TABLE
from tests.parity.random_weights import randomize

from .timing import interleaved, show

QUESTION = 10  # tokens of a question, [CLS] and [SEP] among them; all are as long, so that nobody pads
ANSWER = 4  # tokens of an answer, its end among them
WITH_MAPS = "multiattn, with maps"
START, CLS, END = 30522, 101, 102
ASKED = [Word(f"{i:02}", 3 * i, 3 * i + 2, (i,)) for i in range(QUESTION - 2)]  # each token a word
SAID = [Word(f"{i:02}", 3 * i, 3 * i + 2, (i,)) for i in range(ANSWER)]


@dataclass(frozen=True)
class Models:
    """One set of weights in both implementations."""

    transformers: BlipForQuestionAnswering
    ours: VQA
    """As the pipeline lays it out on a CPU."""


def build() -> Models:
    """BLIP VQA base with weights that are random, but such that different questions have different answers."""
    text = {"encoder_hidden_size": 768, "num_attention_heads": 12, "vocab_size": 30524, "layer_norm_eps": 1e-12}
    vision = {"image_size": 384, "layer_norm_eps": 1e-6}
    reference = BlipForQuestionAnswering(BlipConfig(text_config=text, vision_config=vision))
    reference = randomize(reference, seed=0)
    with torch.no_grad():
        reference.text_decoder.bert.embeddings.position_embeddings.weight.mul_(4)
        reference.text_encoder.embeddings.word_embeddings.weight.mul_(4)
        for part, share in ((reference.text_encoder, 0.1), (reference.text_decoder.bert, 0.3)):
            for name, parameter in part.encoder.named_parameters():
                if ".output.dense." in name:  # or all tokens would end up as what is seen of the picture
                    parameter.mul_(share)
        reference.tie_weights()
    preset = PRESETS["blip_base"]
    ours = VQA(replace(preset, encoder=replace(preset.encoder, image_size=(384, 384)))).eval()
    ours.load_state_dict(TABLE.to_ours(reference.state_dict(), ours.state_dict()), assign=True)
    lay_out_for_reading(ours.encoder)
    lay_out_for_reading(ours.question)
    assert ours.decoder is not None
    lay_out_for_decoding(ours.decoder)
    return Models(reference, ours)


def answer(rounds: int) -> None:
    """From pixels to greedy answers, and maps of all words of questions and answers, for 1 and for 20 questions."""
    models = build()
    torch.manual_seed(0)
    image = torch.randn(1, 3, 384, 384)
    for count in (1, 20):
        words = torch.randint(1000, 30000, (count, QUESTION - 2))
        ends = [torch.full((count, 1), token) for token in (CLS, END)]
        questions = torch.cat([ends[0], words, ends[1]], dim=1)
        with torch.inference_mode():
            _questions(models, image, questions, rounds=max(5, rounds // 4) if count == 1 else max(3, rounds // 10))


def _questions(models: Models, image: Tensor, questions: Tensor, *, rounds: int) -> None:
    ways = _ways(models, image, questions)
    answers = {name: run() for name, run in ways.items()}
    first = answers["transformers"]
    assert all(found == first for found in answers.values()), answers
    distinct = len({tuple(row) for row in first})
    assert distinct >= min(3, len(questions)), answers
    asked = "1 question" if len(questions) == 1 else f"{len(questions)} questions"
    title = f"answers, BLIP VQA base, 384 px, {asked} ({distinct} distinct), all the same"
    show(title, interleaved(ways, rounds=rounds))
    pair = {name: ways[name] for name in ("multiattn", WITH_MAPS)}
    more = 1 / interleaved(pair, rounds=rounds)[WITH_MAPS].ratio - 1
    print(f"  maps (attention, all words) add {more:.1%}", flush=True)


def _ways(models: Models, image: Tensor, questions: Tensor) -> dict[str, Callable[[], list[list[int]]]]:
    """From pixels to the tokens of the answers."""
    theirs, ours = models.transformers, models.ours
    count = len(questions)
    length = {"do_sample": False, "num_beams": 1, "min_new_tokens": ANSWER, "max_new_tokens": ANSWER}
    options = GenerationConfig(max_tokens=ANSWER, min_tokens=ANSWER)

    def as_documented() -> list[list[int]]:
        """Theirs takes a picture for each question."""
        made = theirs.generate(input_ids=questions, pixel_values=image.expand(count, -1, -1, -1), **length)
        return [row[1:] for row in made.tolist()]

    def encoded_once() -> list[list[int]]:
        """Theirs, taken apart by hand: as `generate` does it, but for the picture's encoding."""
        seen = theirs.vision_model(pixel_values=image).last_hidden_state.expand(count, -1, -1)
        mask = torch.ones(seen.shape[:2], dtype=torch.long)
        states = theirs.text_encoder(
            input_ids=questions, encoder_hidden_states=seen, encoder_attention_mask=mask
        ).last_hidden_state
        made = theirs.text_decoder.generate(
            input_ids=torch.full((count, 1), START),
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long),
            eos_token_id=END,
            pad_token_id=0,
            **length,
        )
        return [row[1:] for row in made.tolist()]

    def multiattn() -> list[list[int]]:
        states = ours.read(questions, ours.question.project_context(ours.encode(image)))
        assert ours.decoder is not None
        return written(ours.decoder.project_context(states))

    def with_maps() -> list[list[int]]:
        """As the pipeline does it: the looks of all layers and heads, for every word of questions and answers."""
        context = ours.question.project_context(ours.encode(image))
        reading = read_questions(ours, image, questions, context)
        said = written(reading.projected)
        explain_answer(
            ours,
            image,
            questions.tolist(),
            [ASKED] * count,
            answers=[[START, *tokens] for tokens in said],
            answer_words=[SAID] * count,
            method="attention",
            context=context,
            reading=reading,
        )
        return said

    def written(projected: ProjectedContext | None) -> list[list[int]]:
        assert ours.decoder is not None and projected is not None
        made = generate(ours.decoder, projected, [[START]] * count, options)
        return [list(candidates[0].tokens) for candidates in made]

    ways = {"transformers": as_documented, "multiattn": multiattn, WITH_MAPS: with_maps}
    return ways if count == 1 else {**ways, "transformers, picture encoded once": encoded_once}
