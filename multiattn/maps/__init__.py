"""Where a model looked: from captured attention to an `AttentionMap`, and how far it can be trusted."""

from .align import begin_frames, dtw, evidence, median_filter
from .align_heads import HeadScore, choose_heads, rank_heads, score_heads
from .attention_map import AttentionMap, Axis
from .dependence import MADE_UP_BELOW, made_up, mean_colour, picture_dependence
from .faithfulness import class_probability, deletion_scores, insertion_scores, word_probability
from .listening import Listening, listen
from .picture import METHOD_NOTES, METHODS, attention_stack, class_attention, explain
from .pointing import Box, PointingScore, choose_pointing, patches_within, points, score_pointing
from .progress import Progress, progress
from .propagate import relevance, rollout, sharpness
from .question_replay import QuestionReading, read_questions
from .questions import (
    ANSWER_METHODS,
    ANSWER_NOTES,
    QUESTION_NOTES,
    AnswerMaps,
    answer_attention,
    answer_attention_stack,
    explain_answer,
)
from .snap import snapped
from .speech_maps import SPEECH_METHOD_NOTES, SPEECH_METHODS, speech_attention, speech_attention_stack
from .speech_words import word_times, words_heard
from .spoken import SpokenWord, merged, spoken_words
from .word_maps import word_attention
from .words import WORD_METHOD_NOTES, WORD_METHODS, explain_words, word_attention_stack

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
    "MADE_UP_BELOW",
    "METHODS",
    "METHOD_NOTES",
    "SPEECH_METHODS",
    "SPEECH_METHOD_NOTES",
    "WORD_METHODS",
    "WORD_METHOD_NOTES",
    "AttentionMap",
    "Axis",
    "HeadScore",
    "Listening",
    "Progress",
    "SpokenWord",
    "attention_stack",
    "begin_frames",
    "choose_heads",
    "class_attention",
    "class_probability",
    "deletion_scores",
    "dtw",
    "evidence",
    "explain",
    "explain_words",
    "insertion_scores",
    "listen",
    "made_up",
    "mean_colour",
    "median_filter",
    "merged",
    "picture_dependence",
    "progress",
    "rank_heads",
    "relevance",
    "rollout",
    "score_heads",
    "sharpness",
    "snapped",
    "speech_attention",
    "speech_attention_stack",
    "spoken_words",
    "word_attention",
    "word_attention_stack",
    "word_probability",
    "word_times",
    "words_heard",
]
