"""What the OpenAPI description says of each address: its body, an example of an answer, and the errors."""

from typing import Any

from pydantic import BaseModel

from .problems import STATUSES

_PICTURE = "a picture: AVIF, BMP, GIF, HEIC, ICO, JPEG, JPEG 2000, PNG, PPM, TGA, TIFF or WebP"

CLASSIFY = {
    "model": "classify",
    "file": "frog.png",
    "predictions": [{"label": "frog", "score": 0.93}, {"label": "bird", "score": 0.04}],
}
CAPTION = {
    "model": "caption",
    "file": "scene.png",
    "text": "a red circle",
    "score": 0.98,
    "words": [
        {"word": "a", "start": 0, "end": 1, "probability": 0.99},
        {"word": "red", "start": 2, "end": 5, "probability": 0.98},
        {"word": "circle", "start": 6, "end": 12, "probability": 0.97},
    ],
}
ANSWER = {
    "model": "answer",
    "file": "scene.png",
    "answers": [
        {
            "file": None,
            "question": "what color is the circle?",
            "answer": "red",
            "score": 0.97,
            "candidates": [{"answer": "red", "score": 0.97}, {"answer": "blue", "score": 0.02}],
            "question_words": [{"word": "what", "start": 0, "end": 4}],
            "words": [{"word": "red", "start": 0, "end": 3, "probability": 0.97}],
            "first_token": "[CLS]",
        }
    ],
}
MATCH = {
    "model": "match",
    "file": "scene.png",
    "texts": [
        {"text": "a red circle", "score": 0.91, "similarity": 0.54},
        {"text": "a blue square", "score": 0.09, "similarity": 0.31},
    ],
}
RECORDING = "a recording: AAC, AIFF, FLAC, M4A, MP3, Ogg, Opus, WAV, WebM and others"
MODEL = {
    "id": "transcribe",
    "object": "model",
    "created": 1790000000,
    "owned_by": "multiattn",
    "task": "transcribe",
    "model": "transcribe",
    "is_default": True,
    "is_loaded": False,
}
MODELS = {"object": "list", "data": [MODEL]}
EMBED = {"model": "match", "file": "scene.png", "embedding": [0.0123, -0.0456, 0.0789]}

TRANSCRIPT = {"text": "one two three", "usage": {"type": "duration", "seconds": 2.4}}


def body_of(
    schema: type[BaseModel], example: dict[str, Any], *, file: str = _PICTURE, required: bool = True
) -> dict[str, Any]:
    """Return what the description says of a body, which is a form or a JSON object.

    Args:
        schema: The options.
        example: Options of a request, without the file.
        file: What the file is.
        required: Whether there must be one.
    """
    described = schema.model_json_schema()
    properties, needed = described.get("properties", {}), described.get("required", [])
    in_base64 = {
        "file": {"type": "string", "contentEncoding": "base64", "description": f"{file}; the bytes in base64"},
        "filename": {"type": "string", "description": "its name, which the answer has as `file`"},
        "url": {"type": "string", "description": "in place of `file`: its address, where the server allows that"},
    }
    as_part = {"file": {"type": "string", "contentMediaType": "application/octet-stream", "description": file}}
    form = {"type": "object", "properties": as_part | properties, "required": [*(["file"] * required), *needed]}
    as_json = {
        "type": "object",
        "properties": in_base64 | properties,
        "required": needed,
        "additionalProperties": False,
    }
    base64 = {"file": "iVBORw0KGgo..."} if required else {}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "application/json": {"schema": as_json, "example": base64 | example},
            },
        }
    }


def responses_of(example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Return what the description says of the answers: an example, and every status of an error."""
    problem = {"type": "about:blank", "title": "...", "status": 422, "detail": "what is wrong, and the mend"}
    errors: dict[int | str, dict[str, Any]] = {
        status: {
            "description": says,
            "content": {"application/problem+json": {"example": problem | {"status": status}}},
        }
        for status, says in STATUSES.items()
    }
    found = {"description": "The result.", "content": {"application/json": {"example": example}}}
    return {200: found, **errors}
