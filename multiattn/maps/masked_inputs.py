"""The inputs of each task, of which parts can be hidden: pictures, questions and recordings as `MaskedInput`s.

Notation: n inputs with different cells hidden, c channels, H and W the picture's height and width, mels features of a
log-mel, t its frames, k tokens, D width, V vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..alignment.replay import Replay, predicting_rows
from ..checks import require
from ..errors import ModelError
from ..inputs.text import Word
from ..models import VQA, Captioner, ScoreFunction, SingleStream, SpeechRecognizer, ViT, scores_of
from .building import image_size
from .caption import replay_captions
from .masking import MOMENT_SECONDS, PICTURES_AT_ONCE, RECORDINGS_AT_ONCE, Filling, MaskedInput, filled

# --- pictures ---


def masked_class(
    model: ViT,
    image: Float[Tensor, "c H W"],
    target: int,
    *,
    versus: int | None = None,
    score_function: ScoreFunction = "softmax",
    filling: Filling = "mean",
    batch_size: int = PICTURES_AT_ONCE,
) -> MaskedInput:
    """Return a classifier's picture, whose patches can be hidden.

    Args:
        model: In eval mode.
        image: Its input.
        target: The class whose probability is computed.
        versus: Another class: the probability is then that of the target where it is one of the two.
        score_function: How the model's outputs become scores.
        filling: What stands in place of a hidden patch.
        batch_size: Pictures computed at once.

    Raises:
        ModelError: The scores are no probabilities, or there is no such class or filling.
    """
    if score_function == "identity":
        raise ModelError("`score_function` must give a probability for a check, but is 'identity', a value, instead.")
    last = model.config.num_classes - 1
    for name, index in (("target", target), ("versus", versus)):
        require(index is None or 0 <= index <= last, name, must=f"a class from 0 to {last}", value=index)

    def score(images: Tensor) -> Tensor:
        outputs: Tensor = model(images)
        if versus is not None:
            return (outputs[:, target] - outputs[:, versus]).float().sigmoid()
        return scores_of(outputs, score_function)[:, target]

    return _masked_picture(model.grid(image_size(image[None])), image, score, filling, batch_size)


def masked_word(
    model: Captioner,
    image: Float[Tensor, "c H W"],
    tokens: Sequence[int],
    words: Sequence[Word],
    index: int | None,
    *,
    prompt_length: int,
    filling: Filling = "mean",
    batch_size: int = PICTURES_AT_ONCE,
) -> MaskedInput:
    """Return a captioner's picture, whose patches can be hidden; the caption stays as it is.

    Args:
        model: In eval mode.
        image: Its input.
        tokens: Of the caption, as `explain_words` takes them, like `words` and `prompt_length`.
        words: Of the caption.
        index: The word whose probability is computed, given the words before it; None for the whole caption: the
            geometric mean over the tokens of its words.
        prompt_length: Tokens before the first that a piece may name.
        filling: What stands in place of a hidden patch.
        batch_size: Pictures computed at once.

    Raises:
        ModelError: Caption and words do not fit each other, or there is no such word or filling.
    """
    replay = replay_captions(model, image[None], [tokens], [words], prompt_length=prompt_length)
    rows = _rows_of(replay, index)

    def score(images: Tensor) -> Tensor:
        logits = model.decoder(replay.inputs.expand(len(images), -1), model.encode(images))
        return _text_probability(replay, logits, rows, whole=index is None)

    return _masked_picture(model.encoder.grid(image_size(image[None])), image, score, filling, batch_size)


def masked_answer(
    model: VQA | SingleStream,
    image: Float[Tensor, "c H W"],
    question: Sequence[int],
    answer: int | Sequence[int],
    *,
    choices: Sequence[int] | None = None,
    filling: Filling = "mean",
    batch_size: int = PICTURES_AT_ONCE,
) -> MaskedInput:
    """Return the picture of a question, whose patches can be hidden.

    Args:
        model: In eval mode.
        image: Its input.
        question: Its tokens, from the start token to the end token.
        answer: Its index in the closed list; or its tokens, from the start token on, where a decoder wrote them: the
            probability is then the product over them.
        choices: The answers of the closed list that the probability is shared among; all where None.
        filling: What stands in place of a hidden patch.
        batch_size: Pictures computed at once.

    Raises:
        ModelError: There is no such answer or filling.
    """
    of_answer = _answer_probability(model, answer, choices)
    tokens = torch.tensor([[*question]], device=image.device)

    def score(images: Tensor) -> Tensor:
        return of_answer(model.read(tokens.expand(len(images), -1), model.encode(images)))

    grid = (model.encoder if isinstance(model, VQA) else model).grid(image_size(image[None]))
    return _masked_picture(grid, image, score, filling, batch_size)


def _masked_picture(
    grid: tuple[int, int],
    image: Float[Tensor, "c H W"],
    score: Callable[[Float[Tensor, "n c H W"]], Tensor],
    filling: Filling,
    batch_size: int,
) -> MaskedInput:
    instead = filled(image, filling, cell=(image.shape[-2] / grid[0], image.shape[-1] / grid[1]))

    def of_hidden(hidden: Bool[Tensor, "n rows cols"]) -> Tensor:
        spread = F.interpolate(hidden[:, None].float(), size=image.shape[-2:], mode="nearest").bool()  # (n, 1, H, W)
        return score(torch.where(spread, instead, image))

    return MaskedInput(grid, of_hidden, batch_size, image.device)


# --- questions ---


def masked_question(
    model: VQA | SingleStream,
    image: Float[Tensor, "c H W"],
    question: Sequence[int],
    words: Sequence[Word],
    answer: int | Sequence[int],
    *,
    mask_token: int,
    choices: Sequence[int] | None = None,
    batch_size: int = PICTURES_AT_ONCE,
) -> MaskedInput:
    """Return a question, whose words can be hidden; the picture stays as it is, and is encoded once.

    Args:
        model: In eval mode.
        image: Its input.
        question: Its tokens, from the start token to the end token.
        words: Of the question, at least one; their pieces count from the first token after the start token.
        answer: As for `masked_answer`, like `choices`.
        mask_token: The token in place of each token of a hidden word.
        choices: The answers that the probability is shared among.
        batch_size: Questions computed at once.

    Raises:
        ModelError: There is no such answer, or question and words do not fit each other.
    """
    of_answer = _answer_probability(model, answer, choices)
    replay = Replay.of(
        [question],
        [slice(1, len(question) - 1)],
        [words],
        pad_token=model.config.question.pad_token,
        device=image.device,
        kind="question",
    )
    having = (replay.shares[0] > 0).float()  # (words, k)
    with torch.no_grad():
        context = model.encode(image[None])

    def of_hidden(hidden: Bool[Tensor, "n words"]) -> Tensor:
        tokens = replay.inputs.masked_fill(hidden.float() @ having > 0, mask_token)  # (n, k)
        return of_answer(model.read(tokens, context))

    return MaskedInput((len(words),), of_hidden, batch_size, image.device)


def _answer_probability(
    model: VQA | SingleStream, answer: int | Sequence[int], choices: Sequence[int] | None
) -> Callable[[Float[Tensor, "n k D"]], Float[Tensor, " n"]]:
    """A function from the states of questions to the probability of one answer."""
    if isinstance(model, VQA) and (decoder := model.decoder) is not None:
        if isinstance(answer, int):
            raise ModelError(f"`answer` must be tokens for a model that writes them, but is {answer} instead.")
        tokens = torch.tensor([[*answer]])

        def written(states: Tensor) -> Tensor:
            said = tokens.to(states.device).expand(len(states), -1)
            logits: Tensor = decoder(said[:, :-1], states)
            log_probs = logits.float().log_softmax(dim=-1)
            return log_probs.gather(-1, said[:, 1:, None])[..., 0].sum(dim=1).exp()

        return written
    listed = list(range(model.config.answers)) if choices is None else list(choices)
    require(answer in listed, "answer", must="an index in the closed list", value=answer)
    place = listed.index(answer)  # type: ignore[arg-type]
    return lambda states: model.answer_logits(states)[:, listed].float().softmax(dim=1)[:, place]


# --- recordings ---


def masked_speech(
    model: SpeechRecognizer,
    features: Float[Tensor, "mels t"],
    tokens: Sequence[int],
    words: Sequence[Word],
    index: int | None,
    *,
    prompt_length: int,
    length: int,
    frame_seconds: float,
    bands: int = 1,
    filling: Filling = "mean",
    batch_size: int = RECORDINGS_AT_ONCE,
) -> MaskedInput:
    """Return a recording, of whose log-mel cells of `MOMENT_SECONDS` can be hidden; the transcript stays as it is.

    One would look for a word where it would be if all words took the same time; for the whole text, in the middle.

    Args:
        model: In eval mode.
        features: The log-mel, with its padding.
        tokens: Of the transcript, from the start token on, prompt included.
        words: Of the transcript, at least one; their pieces count from the first token after the prompt.
        index: The word whose probability is computed, given the words before it; None for the whole text: the
            geometric mean over the tokens of its words.
        prompt_length: Tokens before the first of the text.
        length: Feature frames of the recording itself, which alone are hidden.
        frame_seconds: From one feature frame to the next, in seconds.
        bands: Cells along the frequencies; 1 hides moments of the recording as a whole.
        filling: What stands in place of a hidden cell.
        batch_size: Recordings computed at once.

    Raises:
        ModelError: Transcript, words and recording do not fit each other, or there is no such word or filling.
    """
    mels, frames = features.shape
    require(1 <= length <= frames, "length", must=f"from 1 to the {frames} frames of the log-mel", value=length)
    require(1 <= bands <= mels, "bands", must=f"from 1 to the {mels} of the log-mel", value=bands)
    replay = Replay.of(
        [tokens],
        predicting_rows([tokens], [prompt_length]),
        [words],
        pad_token=model.config.decoder.pad_token,
        device=features.device,
        kind="transcript",
        predicts=True,
    )
    rows = _rows_of(replay, index)
    cells = (bands, max(1, round(length * frame_seconds / MOMENT_SECONDS)))
    own = features[:, :length]
    instead = filled(own[None], filling, cell=(mels / bands, length / cells[1]), over=(2,))[0]  # (mels, length)

    def of_hidden(hidden: Bool[Tensor, "n bands moments"]) -> Tensor:
        spread = F.interpolate(hidden[:, None].float(), size=own.shape, mode="nearest")[:, 0].bool()
        masked = torch.where(spread, instead, own)  # (n, mels, length)
        padded = torch.cat([masked, features[:, length:].expand(len(hidden), -1, -1)], dim=2)
        lengths = torch.full((len(hidden),), length, device=features.device)
        logits = model(padded, replay.inputs.expand(len(hidden), -1), lengths=lengths)
        return _text_probability(replay, logits, rows, whole=index is None)

    center = (None, 0.5 if index is None else (index + 0.5) / len(words))
    return MaskedInput(cells, of_hidden, batch_size, features.device, center)


# --- texts ---


def _rows_of(replay: Replay, index: int | None) -> Bool[Tensor, " k"]:
    """The rows of a text that predict a word, or any of its words."""
    of_words = replay.shares[0] > 0  # (words, k)
    if index is None:
        return of_words.any(dim=0)
    last = len(of_words) - 1
    require(0 <= index <= last, "index", must=f"a word from 0 to {last}", value=index)
    return of_words[index]


def _text_probability(
    replay: Replay, logits: Float[Tensor, "n k V"], rows: Bool[Tensor, " k"], *, whole: bool
) -> Float[Tensor, " n"]:
    """The probability of a word: the product over its tokens; of a whole text: their geometric mean."""
    said: Int64[Tensor, " k"] = replay.tokens[0, 1:][rows]
    log_probs = logits[:, rows].float().log_softmax(dim=-1)  # (n, k, V)
    chosen = log_probs.gather(-1, said[None, :, None].expand(len(logits), -1, 1))[..., 0]
    return (chosen.mean(dim=1) if whole else chosen.sum(dim=1)).exp()
