"""Decoding on onnxruntime: greedy and beam search, which find the same texts as `generation.generate` on torch.

Notation: b items (each with its context), g rows of each (beams), r = b g rows, n tokens, p tokens before them, m
context tokens, l layers, h heads, d head width, V vocabulary. Rows of one item stand together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from ...checks import require
from ...errors import ModelError
from ...generation.beams import Beams, Best, NextRows
from ...generation.config import Generated, GenerationConfig
from ...generation.texts import RunningText, StoppingCriteria, best_first
from .arrays import log_softmax
from .rules import Rule, rules_of
from .session import Session

Process = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Context:
    """What a decoder attends to."""

    keys_values: Float32[np.ndarray, "l 2 b h m d"]
    mask: Bool[np.ndarray, "b m"] | None = None
    """False where a context token is padding; None without padding."""

    def __len__(self) -> int:
        """Return the number of contexts, b."""
        return int(self.keys_values.shape[2])

    def select(self, items: Sequence[int]) -> "Context":
        """Return some of the contexts."""
        return Context(self.keys_values[:, :, list(items)], None if self.mask is None else self.mask[list(items)])

    def inputs(self) -> dict[str, np.ndarray]:
        """Return it as a graph takes it."""
        mask = {} if self.mask is None else {"context_mask": self.mask}
        return {"context": self.keys_values} | mask


class Decoder:
    """A text decoder.

    Args:
        session: Its graph.
        config: The decoder's part of `architecture` in `config.json`.
    """

    def __init__(self, session: Session, config: dict[str, int]) -> None:
        self._session, self._config = session, config
        self.vocab_size, self.max_length = config["vocab_size"], config["max_length"]
        self.start_token, self.end_token = config["start_token"], config["end_token"]

    def next_logits(self, context: Context, prompts: Sequence[Sequence[int]]) -> Float32[np.ndarray, "b V"]:
        """Return the logits of the token after prompts of one length."""
        tokens = np.array(prompts, np.int64)[:, None]  # (b, 1, n)
        return self._step(tokens, self._no_past(len(context)), context)[0][:, 0]

    def generate(
        self,
        context: Context,
        prompts: Sequence[Sequence[int]],
        options: GenerationConfig,
        *,
        rules: Sequence[Rule] = (),
        stop: Sequence[int] | None = None,
    ) -> list[list[Generated]]:
        """Continue prompts of one length, with attention to their contexts; see `generation.generate`.

        Args:
            context: The context of each item.
            prompts: The prompt of each item, with the start token.
            options: The options of the generation; no sampling.
            rules: Further rules, after those of the options, except for forced tokens.
            stop: Tokens that end a text; the decoder's end token where None.

        Raises:
            ModelError: The prompt fills the decoder's positions, or an option is not possible here.
        """
        require(not options.sample, "sample", must="False on onnxruntime, which only searches", value=True)
        if not prompts:
            return []
        stop = (self.end_token,) if stop is None else stop
        length = len(prompts[0])
        if length >= self.max_length:
            raise ModelError(
                f"a text may have {self.max_length} tokens, special ones included, but the prompt alone has {length}: "
                "shorten it, so that a token fits after it"
            )
        before, last = rules_of(options, prompt_length=length, stop=stop, vocab_size=self.vocab_size)
        every = (*before, *rules, *last)
        stopping = StoppingCriteria(frozenset(stop), min(options.max_tokens, self.max_length - length), None)
        kind = _BeamSearch if options.num_beams > 1 else _GreedySearch
        search: _BeamSearch | _GreedySearch = kind(options, items=len(prompts), stopping=stopping)
        tokens = np.array(prompts, np.int64)[:, None]  # (b, 1, n)
        texts, past = tokens[:, 0], self._no_past(len(prompts))
        while True:
            logits, past = self._step(tokens, past, context)
            items, width = logits.shape[:2]

            def process(scores: np.ndarray, texts: np.ndarray = texts) -> np.ndarray:
                for rule in every:
                    scores = rule(texts, scores)
                return _renormalized(scores) if options.renormalize else scores

            following = search.step(logits.reshape(items * width, -1), process)
            if following is None:
                return search.results()
            if following.rows is not None:
                past = past.reshape(*past.shape[:2], items * width, *past.shape[4:])[:, :, following.rows]
                texts = texts[following.rows]
                if following.items is not None:
                    context = context.select(following.items)
                past = past.reshape(*past.shape[:2], len(context), -1, *past.shape[3:])
            tokens = np.array(following.tokens, np.int64).reshape(len(context), -1, 1)  # (b, g, 1)
            texts = np.concatenate([texts, tokens.reshape(-1, 1)], axis=1)

    def _step(self, tokens: np.ndarray, past: np.ndarray, context: Context) -> tuple[np.ndarray, np.ndarray]:
        found = self._session(tokens=tokens, past=past, **context.inputs())
        return found["logits"], found["present"]

    def _no_past(self, items: int) -> np.ndarray:
        c = self._config
        width = c.get("head_dim") or c["dim"] // c["num_heads"]
        return np.zeros((c["depth"], 2, items, 1, c["num_heads"], 0, width), np.float32)


def _renormalized(scores: np.ndarray) -> np.ndarray:
    total = np.logaddexp.reduce(scores, axis=-1, keepdims=True)
    return scores - np.where(np.isneginf(total), 0, total)  # where all tokens are forbidden, they stay so


class _GreedySearch:
    """The likeliest token at each step."""

    def __init__(self, options: GenerationConfig, *, items: int, stopping: StoppingCriteria) -> None:
        self._options, self._stopping = options, stopping
        self._running = list(range(items))
        self._texts = [RunningText() for _ in range(items)]

    def step(self, logits: np.ndarray, process: Process) -> NextRows | None:
        """Choose the next token of each text."""
        scores = process(logits)
        rows = np.arange(len(logits))
        chosen = scores.argmax(axis=-1)
        processed = scores[rows, chosen]
        log_probs = np.where(np.isneginf(processed), -np.inf, log_softmax(logits)[rows, chosen])
        compared = processed if self._options.renormalize else log_probs
        for item, token, log_prob, value in zip(self._running, chosen.tolist(), log_probs, compared, strict=True):
            self._texts[item].append(item, token, float(log_prob), float(value), self._stopping)
        stay = [index for index, item in enumerate(self._running) if not self._texts[item].is_over]
        if not stay:
            return None
        is_whole = len(stay) == len(self._running)
        self._running = [self._running[index] for index in stay]
        return NextRows(chosen[stay].tolist(), None if is_whole else stay, None if is_whole else stay)

    def results(self) -> list[list[Generated]]:
        """Return the text of each item."""
        return [best_first([text.generated(self._options)]) for text in self._texts]


class _BeamSearch:
    """Several beams for each item."""

    def __init__(self, options: GenerationConfig, *, items: int, stopping: StoppingCriteria) -> None:
        self._beams = Beams(options, items=items, stopping=stopping)

    def step(self, logits: np.ndarray, process: Process) -> NextRows | None:
        """Extend each beam by every token, and keep the likeliest."""
        own = log_softmax(logits)
        scores = process(own)
        totals = np.array(self._beams.totals, np.float32)  # (b, w)
        items, vocab_size = len(totals), logits.shape[-1]
        all_totals = (scores.reshape(items, -1, vocab_size) + totals[..., None]).reshape(items, -1)  # (b, w V)
        own = own.reshape(items, -1)
        found = []
        for row, log_probs in zip(all_totals, own, strict=True):
            count = min(self._beams.keep, len(row))
            best = np.argpartition(-row, count - 1)[:count]
            best = best[np.lexsort((best, -row[best]))]  # of equal ones, the first
            found.append(Best(row[best].tolist(), best.tolist(), log_probs[best].tolist()))
        return self._beams.extend(found, vocab_size=vocab_size)

    def results(self) -> list[list[Generated]]:
        """Return the texts of each item, best first."""
        return self._beams.results()
