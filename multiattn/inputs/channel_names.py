"""What the channels of a recording are called."""

SIDES = ("left", "right")
WORDS = ("auto", "mix", "each", *SIDES)
"""What a channel may be called, beside its number from 1."""
