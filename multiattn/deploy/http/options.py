"""The options of requests about pictures and vectors: the fields of a form, or of a JSON object.

A list is a field that is repeated, or a JSON list; a single text stands for a list of one. Ranges are tighter than
those of the pipelines: one request may not occupy a server for an hour.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_TEXT = 10_000
"""The most characters of a text."""
_TEXTS = 1000
"""The most texts that a picture is compared with."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1, max_length=_TEXT)]
Texts = Annotated[list[Text], BeforeValidator(_listed), Field(min_length=1, max_length=_TEXTS)]
Questions = Annotated[list[Text], BeforeValidator(_listed), Field(min_length=1, max_length=64)]
Methods = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1, max_length=16)]
Maps = Literal["png", "json", "html"]


class Options(BaseModel):
    """Options of every request."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str | None = Field(None, max_length=1000, description="a model of /v1/models; without it, the task's first")
    strict: bool = Field(False, description="refuse a damaged file; without it, what can be read is used")


class PictureOptions(Options):
    """Options of a request whose answer can have maps."""

    maps: Maps | None = Field(
        None, description="where the model looked: a picture or the numbers of each map, or a page of all"
    )
    map_method: Methods | None = Field(None, description='methods of the maps, or "all"; without it, the model\'s own')
    check: bool = Field(False, description="judge each map by what happens without what it points at: `verdict`")


class LabelOptions(PictureOptions):
    """Options of a request whose answer has labels, of which maps explain one."""

    target: Text | None = Field(None, description="the label that maps explain; without it, the best")
    map_labels: int = Field(0, ge=0, le=5, description="for how many of the best labels a page has a map")


class ClassifyOptions(LabelOptions):
    """Options of /v1/classify."""

    top_k: int = Field(5, ge=1, le=100_000, description="how many labels")
    threshold: float | None = Field(None, allow_inf_nan=False, description="the least score of a label")
    versus: Text | None = Field(None, description="another label: maps explain why `target` and not this one")
    labels: Texts | None = Field(None, description="labels of your own, for a model of the task match")
    template: Texts | None = Field(
        None, description='the text around such a label, with {} in its place: "a photo of {}"'
    )

    @model_validator(mode="after")
    def _is_quick(self) -> "ClassifyOptions":
        number = len(self.labels or ()) * len(self.template or ())  # each label is put into each template
        if number > _TEXTS:
            raise ValueError(f"`labels` times `template` must be at most {_TEXTS}, but are {number} instead")
        return self


class CaptionOptions(PictureOptions):
    """Options of /v1/caption."""

    num_beams: int | None = Field(None, ge=1, le=32, description="width of the search; 1 is greedy")
    max_tokens: int | None = Field(None, ge=1, le=512)
    min_tokens: int | None = Field(None, ge=0, le=512)
    length_penalty: float | None = Field(None, ge=-10, le=10)
    no_repeat_ngram: int | None = Field(None, ge=0, le=512)
    repetition_penalty: float | None = Field(None, gt=0, le=100)
    sample: bool | None = Field(None, description="draw each token, instead of searching")
    temperature: float | None = Field(None, gt=0, le=100)
    top_k: int | None = Field(None, ge=1, le=1_000_000)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**64, description="the same seed gives the same captions")
    num_return_sequences: int | None = Field(None, ge=1, le=32, description="how many captions")
    prompt: Annotated[str, Field(max_length=_TEXT)] | None = Field(None, description="what the caption begins with")
    explain_text: Text | None = Field(None, description="a text that takes the place of the caption")


class AnswerOptions(LabelOptions):
    """Options of /v1/answer."""

    question: Questions = Field(description="the question, or several about one picture, which is read once")
    answers: Texts | None = Field(None, description="the answers to choose from")
    top_k: int | None = Field(None, ge=1, le=1000, description="how many answers")
    num_beams: int | None = Field(None, ge=1, le=32)
    max_tokens: int | None = Field(None, ge=1, le=512)
    min_tokens: int | None = Field(None, ge=0, le=512)
    no_repeat_ngram: int | None = Field(None, ge=0, le=512)
    repetition_penalty: float | None = Field(None, gt=0, le=100)
    first_token: Text | None = None
    versus: Text | None = Field(None, description="another answer: maps explain why `target` and not this one")


class MatchOptions(LabelOptions):
    """Options of /v1/match."""

    texts: Texts = Field(description="the texts that the picture is compared with")


class EmbedOptions(Options):
    """Options of /v1/embed."""

    text: Text | None = Field(None, description="a text, in place of `file`")
    tokens: Literal["pooled", "class", "mean", "all"] = Field("pooled", description="what the vector is made of")
    normalize: bool = Field(False, description="divide the vector by its length")
