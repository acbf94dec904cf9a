"""Predictions that can be computed again with a tap, for each task: what `heads` collects its statistics from.

The score is the log-odds of what the model predicted, log p / (1 - p): of a label or an answer; of a text the sum over
its tokens. Where the model is sure, a log-probability would hardly have a gradient, and a logit alone could rise
together with all others.

Notation: c channels, H and W a picture's height and width, mels features of a log-mel, t its frames, n keys.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..attention import Tap
from ..checks import require
from ..models import VQA, Captioner, ScoreFunction, SingleStream, SpeechRecognizer, ViT
from .building import image_size
from .heads import LINE, TappedPrediction, grid_places
from .propagation import leaf


def tapped_class(
    model: ViT,
    image: Float[Tensor, "c H W"],
    target: int,
    *,
    score_function: ScoreFunction = "softmax",
    inside: Float[Tensor, " n"] | None = None,
) -> TappedPrediction:
    """Return a classifier's prediction of a class.

    Args:
        model: In eval mode.
        image: Its input.
        target: The class.
        score_function: How the model's outputs become scores; with "identity" the score is the value itself.
        inside: The share of each patch that lies on the object, row by row; None where unknown.

    Raises:
        ModelError: There is no such class.
    """
    last = model.config.num_classes - 1
    require(0 <= target <= last, "target", must=f"a class from 0 to {last}", value=target)
    images = image[None]

    def score(of: nn.Module, tap: Tap | None) -> Tensor:
        assert isinstance(of, ViT)
        outputs = of.forward(leaf(images), tap=tap).float()
        if score_function == "softmax":
            return _log_odds(outputs, torch.tensor([target], device=outputs.device))[0]
        return outputs[0, target]  # of a sigmoid this is the log-odds

    size = image_size(images)
    boxes = {} if inside is None else {"": inside}
    return TappedPrediction(model.attention_sites(size), score, {"": grid_places(*model.grid(size))}, boxes)


def tapped_caption(
    model: Captioner, image: Float[Tensor, "c H W"], tokens: Sequence[int], *, prompt_length: int
) -> TappedPrediction:
    """Return a captioner's prediction of a caption.

    Args:
        model: In eval mode.
        image: Its input.
        tokens: Of the caption, from the start token on, prompt included.
        prompt_length: Tokens before the first that was written.
    """
    images, said = image[None], torch.tensor([[*tokens]], device=image.device)

    def score(of: nn.Module, tap: Tap | None) -> Tensor:
        assert isinstance(of, Captioner)
        return _text_score(of.forward(leaf(images), said[:, :-1], tap=tap), said, prompt_length)

    size = image_size(images)
    sites = model.attention_sites(size, tokens=len(tokens) - 1)
    places = {"encoder.": grid_places(*model.encoder.grid(size)), "decoder.": LINE}
    return TappedPrediction(sites, score, places)


def tapped_speech(
    model: SpeechRecognizer,
    features: Float[Tensor, "mels t"],
    tokens: Sequence[int],
    *,
    prompt_length: int,
    length: int,
) -> TappedPrediction:
    """Return a recognizer's prediction of a transcript.

    Args:
        model: In eval mode.
        features: The log-mel, with its padding.
        tokens: Of the transcript, from the start token on, prompt included.
        prompt_length: Tokens before the first of the text.
        length: Feature frames of the recording itself.
    """
    said = torch.tensor([[*tokens]], device=features.device)
    lengths = torch.tensor([length], device=features.device)

    def score(of: nn.Module, tap: Tap | None) -> Tensor:
        assert isinstance(of, SpeechRecognizer)
        return _text_score(
            of.forward(leaf(features[None]), said[:, :-1], lengths=lengths, tap=tap), said, prompt_length
        )

    sites = model.attention_sites(tokens=len(tokens) - 1)
    places = {"encoder.": LINE, "decoder.": LINE}
    return TappedPrediction(sites, score, places)


def tapped_answer(
    model: VQA | SingleStream,
    image: Float[Tensor, "c H W"],
    question: Sequence[int],
    answer: int | Sequence[int],
    *,
    inside: Float[Tensor, " n"] | None = None,
) -> TappedPrediction:
    """Return a model's answer to a question about a picture.

    Args:
        model: In eval mode.
        image: Its input.
        question: Its tokens, from the start token to the end token.
        answer: Its index in the closed list; or its tokens, from the start token on, where a decoder wrote them.
        inside: As for `tapped_class`: of what the question is about.
    """
    images, asked = image[None], torch.tensor([[*question]], device=image.device)
    said = None if isinstance(answer, int) else torch.tensor([[*answer]], device=image.device)

    def score(of: nn.Module, tap: Tap | None) -> Tensor:
        assert isinstance(of, VQA | SingleStream)
        if said is None:
            logits = of.forward(leaf(images), asked, tap=tap)
            return _log_odds(logits, torch.tensor([answer], device=logits.device))[0]
        assert isinstance(of, VQA)
        return _text_score(of.forward(leaf(images), asked, said[:, :-1], tap=tap), said, 1)

    size = image_size(images)
    if isinstance(model, SingleStream):  # one row of tokens holds the question and the picture
        sites = model.attention_sites(size, question_tokens=len(question))
        return TappedPrediction(sites, score, {}, {} if inside is None else {"": inside})
    written = 0 if said is None else said.shape[1] - 1
    sites = model.attention_sites(size, question_tokens=len(question), answer_tokens=written)
    places = {
        "encoder.": grid_places(*model.encoder.grid(size)),
        "question.": LINE,
        "decoder.": LINE,
    }
    crossing = [site.name for site in sites if site.name.startswith("question.") and site.name.endswith(".cross")]
    boxes = {} if inside is None else dict.fromkeys(["encoder.", *crossing], inside)
    return TappedPrediction(sites, score, places, boxes)


def _text_score(logits: Float[Tensor, "1 k V"], said: Tensor, prompt_length: int) -> Float[Tensor, ""]:
    """The sum of the log-odds of the tokens after the prompt."""
    return _log_odds(logits[0], said[0, 1:])[prompt_length - 1 :].sum()


def _log_odds(logits: Float[Tensor, "k V"], chosen: Tensor) -> Float[Tensor, " k"]:
    """The log-odds of one entry of each row under a softmax."""
    others = logits.float().scatter(1, chosen[:, None], -torch.inf).logsumexp(dim=1)
    return logits.float().gather(1, chosen[:, None])[:, 0] - others
