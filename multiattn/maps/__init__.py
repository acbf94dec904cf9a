"""Where a model looked: from captured attention to an `AttentionMap`, and how far it can be trusted."""

from .attention_map import AttentionMap, Axis
from .dependence import MADE_UP_BELOW, made_up, mean_colour, picture_dependence
from .faithfulness import class_probability, deletion_scores, insertion_scores, word_probability
from .picture import METHOD_NOTES, METHODS, attention_stack, class_attention, explain
from .propagate import relevance, rollout, sharpness
from .words import WORD_METHOD_NOTES, WORD_METHODS, explain_words, word_attention, word_attention_stack

__all__ = [
    "MADE_UP_BELOW",
    "METHODS",
    "METHOD_NOTES",
    "WORD_METHODS",
    "WORD_METHOD_NOTES",
    "AttentionMap",
    "Axis",
    "attention_stack",
    "class_attention",
    "class_probability",
    "deletion_scores",
    "explain",
    "explain_words",
    "insertion_scores",
    "made_up",
    "mean_colour",
    "picture_dependence",
    "relevance",
    "rollout",
    "sharpness",
    "word_attention",
    "word_attention_stack",
    "word_probability",
]
