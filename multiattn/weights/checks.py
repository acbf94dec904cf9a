"""Whether the parts of a bundle fit each other: the model, its labels, its vocabulary, how it decodes."""

from ..errors import ModelError
from ..inputs import AudioPreprocessing, Tokenizer
from ..models.single_stream import SingleStreamConfig
from ..models.text_stack import TextConfig
from ..models.vqa import VQAConfig
from .bundle import ModelBundle
from .json_files import short


def check_bundle(bundle: ModelBundle) -> None:
    """Make sure that the parts of a bundle fit each other.

    Raises:
        ModelError: They do not; the message names the part.
    """
    where = "the bundle"
    if bundle.task == "transcribe":
        _check_sound(bundle.sound, bundle.speech.config.encoder.mels)
        _check_tokenizer(bundle, bundle.speech.config.decoder.vocab_size)
        check_heads(bundle, where=where)
    elif bundle.task == "caption":
        _check_tokenizer(bundle, bundle.captioner.config.decoder.vocab_size)
    elif bundle.task == "answer":
        config = bundle.answerer.config
        for vocab_size in vocabularies(config):
            _check_tokenizer(bundle, vocab_size)
        check_answers(bundle.labels, config.answers, where=where)
        check_heads(bundle, where=where)
    else:
        check_labels(bundle.labels, bundle.classifier.config.num_classes, where=where)


def vocabularies(config: VQAConfig | SingleStreamConfig) -> tuple[int, ...]:
    """The rows of the tables in which a model that answers has one for each token: for reading, and for writing."""
    decoder = config.decoder if isinstance(config, VQAConfig) else None
    return (config.question.vocab_size, *(() if decoder is None else (decoder.vocab_size,)))


def _check_tokenizer(bundle: ModelBundle, vocab_size: int) -> None:
    if bundle.tokenizer is None:
        raise ModelError("`tokenizer` must be given for a model that reads or writes text, but is None instead")
    check_vocabulary(bundle.tokenizer, vocab_size, where="the bundle")


def _check_sound(sound: AudioPreprocessing, mels: int) -> None:
    if sound.mels != mels:
        raise ModelError(f"`preprocessing.mels` must be the encoder's `mels` ({mels}), but is {sound.mels} instead")


def check_heads(bundle: ModelBundle, *, where: str) -> None:
    """Make sure that a model has the heads that are said to follow the speech, or to point at what is asked about.

    Raises:
        ModelError: It has not.
    """
    text: TextConfig
    if bundle.task == "transcribe":
        name, text = "alignment_heads", bundle.speech.config.decoder
    else:
        name, text = "pointing_heads", bundle.answerer.config.question
    heads = bundle.decoding.get(name, ())
    for pair in heads if isinstance(heads, tuple) else (heads,):
        whole = isinstance(pair, tuple) and len(pair) == 2 and all(type(number) is int for number in pair)
        if not whole or not (0 <= pair[0] < text.depth and 0 <= pair[1] < text.num_heads):
            raise ModelError(
                f"{where}: `{name}` must be pairs of one of {text.depth} blocks and one of its "
                f"{text.num_heads} heads, from 0, but have {short(pair)} instead"
            )


def check_vocabulary(tokenizer: Tokenizer, vocab_size: int, *, where: str) -> None:
    """Make sure that a vocabulary is the one that weights were made for, as far as the sizes tell.

    Weights may have a few rows more than there are entries: BLIP's files name two of its tokens nowhere, and others
    fill up to a round number.

    Raises:
        ModelError: It cannot be.
    """
    spare = 2 + vocab_size // 100
    if not vocab_size - spare <= tokenizer.vocab_size <= vocab_size:
        raise ModelError(
            f"{where} has a vocabulary of {tokenizer.vocab_size} entries, but its weights are made for {vocab_size}: "
            "put the model's own vocabulary beside them"
        )


def check_labels(labels: tuple[str, ...], num_classes: int, *, where: str) -> tuple[str, ...]:
    """The labels, of which there must be one a class."""
    if len(labels) != num_classes:
        raise ModelError(f"{where} must have a label for each of {num_classes} classes, but has {len(labels)} instead")
    return labels


def check_answers(answers: tuple[str, ...], count: int, *, where: str) -> tuple[str, ...]:
    """The answers of a closed list, of which there must be so many, all different; none where a decoder writes them."""
    if len(answers) != count:
        raise ModelError(
            f"{where} must have a label for each of {count} answers of the closed list, but has {len(answers)} instead"
        )
    if len(set(answers)) < count:
        twice = next(answer for i, answer in enumerate(answers) if answer in answers[:i])
        raise ModelError(f"{where} must have each answer of the closed list once, but has {twice!r} twice instead")
    return answers
