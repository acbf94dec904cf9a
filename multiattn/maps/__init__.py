"""Where a model looked: from captured attention to an `AttentionMap`, and how far it can be trusted."""

from .attention_map import AttentionMap, Axis
from .faithfulness import deletion_scores, insertion_scores
from .picture import METHOD_NOTES, METHODS, attention_stack, class_attention, explain
from .propagate import relevance, rollout, sharpness

__all__ = [
    "METHODS",
    "METHOD_NOTES",
    "AttentionMap",
    "Axis",
    "attention_stack",
    "class_attention",
    "deletion_scores",
    "explain",
    "insertion_scores",
    "relevance",
    "rollout",
    "sharpness",
]
