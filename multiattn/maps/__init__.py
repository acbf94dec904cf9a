"""Maps of where a model looked, as `AttentionMap`s, and measures of how far they can be trusted.

`image`, `caption`, `vqa` and `speech` each replay the finished predictions of one task with a tap, and compute a map by
each method. They share `propagation` (rollout and relevance, from captured weights) and `building` (from rows over
tokens to a map). `masking` and `masked_inputs` hide parts of an input; `faithfulness`, `grounding` and `pointing`
measure maps, words and heads; `heads` says what heads do over many inputs.
"""

from typing import TYPE_CHECKING

from ..head_roles import ROLES
from ..lazy import lazily

if TYPE_CHECKING:
    from .answer_maps import AnswerMaps, AnswerStacks
    from .attention_map import AttentionMap, Axis, time_profile
    from .attribution import Attribution
    from .building import word_attention
    from .caption import WORD_METHOD_NOTES, WORD_METHODS, caption_word_attention, explain_words, word_attention_stack
    from .faithfulness import Curves, map_curves
    from .grounding import mean_color, measure_image_dependence
    from .heads import HeadFacts, HeadStatistics, TappedPrediction, without_heads
    from .image import BY_CLASS, METHODS, NO_CLASS, attention_stack, class_attention, explain
    from .image_dependence import UNGROUNDED_BELOW, ungrounded
    from .judging import judge
    from .masked_inputs import masked_answer, masked_class, masked_question, masked_speech, masked_word
    from .masking import FILLINGS, Filling, MaskedInput
    from .mean_map import MeanMap, mean_maps
    from .method_notes import METHOD_NOTES
    from .moments import moment_attention
    from .pointing import Box, PointingScore, choose_pointing, patches_within, points, score_pointing
    from .propagation import relevance, rollout, sharpness
    from .sinks import find_sinks, patch_sinks, picture_sinks, sink_tap, without_sinks
    from .speech import SPEECH_METHOD_NOTES, SPEECH_METHODS, speech_attention, speech_attention_stack
    from .speech_contributions import speech_lrp
    from .tokens import attention_from, attention_to, picture_self_attention, self_attention, token_map
    from .two_towers import MATCH_METHODS, MATCH_NOTES, TEXT_NOTES, explain_texts, masked_text
    from .verdict import Checked, Verdict
    from .vqa import (
        ANSWER_METHODS,
        ANSWER_NOTES,
        QUESTION_NOTES,
        answer_attention,
        answer_attention_stack,
        explain_answer,
    )
    from .vqa_replay import QuestionReading, read_questions

__all__ = [
    "ANSWER_METHODS",
    "ANSWER_NOTES",
    "AnswerMaps",
    "AnswerStacks",
    "AttentionMap",
    "Attribution",
    "Axis",
    "BY_CLASS",
    "Box",
    "Checked",
    "Curves",
    "FILLINGS",
    "HeadFacts",
    "HeadStatistics",
    "MATCH_METHODS",
    "MATCH_NOTES",
    "MeanMap",
    "ROLES",
    "TEXT_NOTES",
    "TappedPrediction",
    "mean_maps",
    "without_heads",
    "Filling",
    "METHODS",
    "METHOD_NOTES",
    "MaskedInput",
    "NO_CLASS",
    "PointingScore",
    "QUESTION_NOTES",
    "QuestionReading",
    "SPEECH_METHODS",
    "SPEECH_METHOD_NOTES",
    "UNGROUNDED_BELOW",
    "Verdict",
    "WORD_METHODS",
    "WORD_METHOD_NOTES",
    "answer_attention",
    "answer_attention_stack",
    "attention_from",
    "attention_stack",
    "attention_to",
    "caption_word_attention",
    "choose_pointing",
    "class_attention",
    "explain",
    "explain_answer",
    "explain_texts",
    "explain_words",
    "find_sinks",
    "judge",
    "masked_answer",
    "masked_class",
    "masked_question",
    "masked_speech",
    "masked_text",
    "masked_word",
    "map_curves",
    "mean_color",
    "measure_image_dependence",
    "moment_attention",
    "patches_within",
    "patch_sinks",
    "picture_self_attention",
    "picture_sinks",
    "points",
    "read_questions",
    "relevance",
    "rollout",
    "score_pointing",
    "self_attention",
    "sharpness",
    "sink_tap",
    "speech_attention",
    "speech_attention_stack",
    "token_map",
    "speech_lrp",
    "time_profile",
    "ungrounded",
    "without_sinks",
    "word_attention",
    "word_attention_stack",
]

__getattr__ = lazily(
    __name__,
    {
        ".answer_maps": "AnswerMaps AnswerStacks",
        ".attention_map": "AttentionMap Axis time_profile",
        ".attribution": "Attribution",
        ".building": "word_attention",
        ".caption": "WORD_METHOD_NOTES WORD_METHODS caption_word_attention explain_words word_attention_stack",
        ".faithfulness": "Curves map_curves",
        ".grounding": "mean_color measure_image_dependence",
        ".image_dependence": "UNGROUNDED_BELOW ungrounded",
        ".heads": "HeadFacts HeadStatistics TappedPrediction without_heads",
        ".image": "BY_CLASS METHODS NO_CLASS attention_stack class_attention explain",
        ".judging": "judge",
        ".masked_inputs": "masked_answer masked_class masked_question masked_speech masked_word",
        ".masking": "FILLINGS Filling MaskedInput",
        ".mean_map": "MeanMap mean_maps",
        ".method_notes": "METHOD_NOTES",
        ".moments": "moment_attention",
        ".pointing": "Box PointingScore choose_pointing patches_within points score_pointing",
        ".propagation": "relevance rollout sharpness",
        ".sinks": "find_sinks patch_sinks picture_sinks sink_tap without_sinks",
        ".speech": "SPEECH_METHOD_NOTES SPEECH_METHODS speech_attention speech_attention_stack",
        ".speech_contributions": "speech_lrp",
        ".tokens": "attention_from attention_to picture_self_attention self_attention token_map",
        ".two_towers": "MATCH_METHODS MATCH_NOTES TEXT_NOTES explain_texts masked_text",
        ".verdict": "Checked Verdict",
        ".vqa": "ANSWER_METHODS ANSWER_NOTES QUESTION_NOTES answer_attention answer_attention_stack explain_answer",
        ".vqa_replay": "QuestionReading read_questions",
    },
)
