"""Where a model looked: from captured attention to an `AttentionMap`, and how far it can be trusted."""

from .attention_map import AttentionMap, Axis
from .building import word_attention
from .caption import WORD_METHOD_NOTES, WORD_METHODS, explain_words, word_attention_stack
from .faithfulness import class_probability, deletion_scores, insertion_scores, word_probability
from .grounding import UNGROUNDED_BELOW, mean_color, measure_image_dependence, ungrounded
from .image import METHOD_NOTES, METHODS, attention_stack, class_attention, explain
from .pointing import Box, PointingScore, choose_pointing, patches_within, points, score_pointing
from .propagation import relevance, rollout, sharpness
from .speech import SPEECH_METHOD_NOTES, SPEECH_METHODS, speech_attention, speech_attention_stack
from .vqa import (
    ANSWER_METHODS,
    ANSWER_NOTES,
    QUESTION_NOTES,
    AnswerMaps,
    answer_attention,
    answer_attention_stack,
    explain_answer,
)
from .vqa_replay import QuestionReading, read_questions

__all__ = [
    "score_pointing",
    "points",
    "patches_within",
    "choose_pointing",
    "PointingScore",
    "Box",
    "explain_answer",
    "answer_attention_stack",
    "answer_attention",
    "AnswerMaps",
    "QuestionReading",
    "read_questions",
    "QUESTION_NOTES",
    "ANSWER_NOTES",
    "ANSWER_METHODS",
    "UNGROUNDED_BELOW",
    "METHODS",
    "METHOD_NOTES",
    "SPEECH_METHODS",
    "SPEECH_METHOD_NOTES",
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
    "ungrounded",
    "mean_color",
    "measure_image_dependence",
    "relevance",
    "rollout",
    "sharpness",
    "speech_attention",
    "speech_attention_stack",
    "word_attention",
    "word_attention_stack",
    "word_probability",
]
