"""The grammar of times in a transcript: where a timestamp may stand, and which.

Notation: r rows, n tokens so far, k new tokens, V vocabulary. Tokens of text are those before the end token, and
timestamps are the last of the vocabulary.
Source: openai-whisper, decoding.py, `ApplyTimestampRules`.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class TimestampRules:
    """A text begins with a time; times come in pairs but for the last, and never run back.

    And where all times together are likelier than the likeliest of the other tokens, a time it is.
    """

    first: int
    """The timestamp of 0 seconds."""

    end: int
    """What ends a text."""

    prompt_length: int
    no_timestamps: int | None = None
    """Says that no times are written; it is not written itself."""

    latest_start: int | None = None
    """The largest number of a timestamp, from 0, that a text may begin with; any where None."""

    def __call__(self, tokens: Int64[Tensor, "r n"], scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Forbid what the grammar does not allow."""
        scores = scores.clone()
        others, times = scores[:, : self.first], scores[:, self.first :]  # views
        if self.no_timestamps is not None:
            scores[:, self.no_timestamps] = -math.inf
        new = tokens[:, self.prompt_length :]  # (r, k)
        if new.shape[1] == 0:
            others.fill_(-math.inf)
            if self.latest_start is not None:
                times[:, self.latest_start + 1 :] = -math.inf
        else:
            self._follow(new, scores)
        is_time = times.logsumexp(dim=-1) > others.amax(dim=-1)  # (r,)
        others.masked_fill_(is_time[:, None], -math.inf)
        return scores

    def _follow(self, new: Tensor, scores: Tensor) -> None:
        """Forbid, in place, what may not follow new tokens (r, k)."""
        is_time = new >= self.first  # (r, k)
        one = is_time[:, -1]
        two = one if new.shape[1] == 1 else one & is_time[:, -2]  # the text's first time is as good as a pair
        opened = one & ~two
        scores[:, : self.end].masked_fill_(opened[:, None], -math.inf)
        times = scores[:, self.first :]
        times.masked_fill_(two[:, None], -math.inf)
        place = torch.arange(1, new.shape[1] + 1, device=new.device)
        last = (place * is_time).amax(dim=1)  # (r,), of the last time, from 1; 0 where there is none
        number = new.gather(1, (last - 1).clamp(min=0)[:, None])[:, 0] - self.first
        # the next segment may begin where this one ends; but no segment ends where it begins, or it might do so forever
        least = torch.where(last > 0, number + (~opened).long(), 0)
        times.masked_fill_(torch.arange(times.shape[1], device=new.device) < least[:, None], -math.inf)
