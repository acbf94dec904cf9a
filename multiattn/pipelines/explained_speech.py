"""Words of transcripts that can be explained again, for `multiattn evaluate maps`."""

import copy
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..alignment import group_words
from ..alignment.teacher_forcing import check_heads
from ..data.metadata import split_folder
from ..inputs import Word
from ..inputs.audio import Recording
from ..inputs.files import RECORDINGS
from ..maps import speech_attention, speech_attention_stack, speech_lrp
from ..maps.heads import TappedPrediction
from ..maps.masked_inputs import masked_speech
from ..maps.masking import Filling
from ..maps.measuring import Explained
from ..maps.tapped import tapped_speech
from ..models import SpeechRecognizer
from ..weights import ModelBundle
from .explained import LIKELY, Explainer, Values, has_letter
from .transcribe import TranscribePipeline


class SpeechExplainer(Explainer[Path]):
    """Words of transcripts."""

    things = "words"

    def __init__(self, bundle: ModelBundle, *, device: torch.device, filling: Filling = "mean") -> None:
        super().__init__(bundle, device=device, filling=filling)
        self._transcribe = TranscribePipeline(replace(bundle, model=copy.deepcopy(bundle.model)), device=device)

    @staticmethod
    def read(folder: str, split: str) -> Sequence[Path]:
        """List the recordings of a split."""
        return RECORDINGS.under(split_folder(Path(folder), split, layout="recordings"))

    def __call__(self, one: Path, drawn: random.Random) -> Explained | None:
        """Transcribe a recording, and choose one of the words."""
        model, sound = self.bundle.require(SpeechRecognizer), self.bundle.sound
        features, length, prompt, ids, words = self._transcribed(one)
        if not words:
            return None
        tokens = [*prompt, *ids]
        masked = partial(
            masked_speech,
            model,
            features,
            tokens,
            words,
            prompt_length=len(prompt),
            length=length,
            frame_seconds=sound.frame_seconds,
            filling=self.filling,
        )
        order = [i for i in range(len(words)) if has_letter(words[i])]
        drawn.shuffle(order)
        index = next((i for i in order if masked(i).whole >= LIKELY), None)
        if index is None:
            return None
        made = partial(self._explain, features, length, tokens, words, len(prompt))
        others = [i for i in order if i != index]
        return Explained(masked(index), partial(made, index), partial(made, others[0]) if others else None)

    def tapped(self, one: Path) -> TappedPrediction | None:
        """Transcribe a recording."""
        features, length, prompt, ids, words = self._transcribed(one)
        if not words:
            return None
        model = self.bundle.require(SpeechRecognizer)
        return tapped_speech(model, features, [*prompt, *ids], prompt_length=len(prompt), length=length)

    def _transcribed(self, one: Path) -> tuple[Tensor, int, Sequence[int], Sequence[int], Sequence[Word]]:
        """The log-mel of a recording, its frames without padding, the prompt, and the transcript's tokens and words."""
        sound, speech = self.bundle.sound, self._transcribe.speech
        with Recording.open(str(one), rate=sound.sample_rate, strict=True) as recording:
            samples = recording.read(0.0, sound.max_seconds)
        found = self._transcribe(samples, rate=sound.sample_rate)
        prompt = speech.tokens.prompt(language=found.language if speech.tokens.languages else None)
        ids = speech.tokenizer.encode(f" {found.text.strip()}")
        words = group_words(speech.tokenizer, ids, language=found.language)
        return sound.features(samples).to(self.device), sound.frames(len(samples)), prompt, ids, words

    def _explain(
        self,
        features: Tensor,
        length: int,
        tokens: Sequence[int],
        words: Sequence[Word],
        prompt_length: int,
        index: int,
        model: nn.Module,
        method: str,
    ) -> Values:
        assert isinstance(model, SpeechRecognizer)
        if method == "lrp":
            prompts, lengths = [prompt_length], [length]
            # of one word alone, since each takes a backward pass
            word = [words[index : index + 1]]
            (found,) = speech_lrp(model, features[None], [tokens], word, prompt_lengths=prompts, lengths=lengths)
            return np.asarray(found.values[0])
        encoded = replace(self._transcribe.speech, model=model).encode(features[None], [length])
        (stack,) = speech_attention_stack(
            model,
            encoded.projected,
            [tokens],
            [words],
            prompt_lengths=[prompt_length],
            frames=encoded.frames,
        )
        heads = check_heads(model, self.bundle.decoding.get("alignment_heads"))
        return np.asarray(speech_attention(stack, heads=heads).values[index])
