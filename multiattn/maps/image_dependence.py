"""The threshold below which a word of a caption does not depend on the picture; `grounding` measures the number."""

import math

UNGROUNDED_BELOW = math.log(1.25)
"""Threshold in nats. A word is ungrounded if the picture makes it less than 1.25 times as likely as a plain picture of
its mean color: the language model would have written it anyway. Two limits: each word is judged given the words before
it, so after "a man riding a" the picture may add little to "horse" though it is the reason for "riding"; and a mean
color carries information too, as white does for snow."""


def ungrounded(image_dependence: float) -> bool:
    """Return whether a word's image dependence is below `UNGROUNDED_BELOW`."""
    return image_dependence < UNGROUNDED_BELOW
