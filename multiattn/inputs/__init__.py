"""Files and arrays to tensors, and from there back to the coordinates of the source. Nothing here knows a model.

Files: `files` and `walk` (finding them), `streams` and `fetch` (those without a path). Pictures: `image` with `image_*`
and `pixels` (loading), `channels` and `preprocess` (to a model's input), `geometry` (back to source pixels).
Recordings: `audio` with `audio_*` (loading), `resampling` and `stream_resampler`, `mel` (to features). Text: `text`
with `vocabulary` (tokens and words), `graphemes` (what is one character to a reader),
`speech_tokens` and `whisper_vocabulary` (a recognizer's), `language_names`, `content_words` (of a question).

The names below are imported when they are first used: `files` must not wait for torch.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .audio import AudioSource, Recording, find_recordings, load_audio
    from .damage import Damage
    from .geometry import Fit, Geometry
    from .image import ImageSource, find_images, load_image, read_image
    from .mel import AudioPreprocessing
    from .preprocess import ImagePreprocessing
    from .speech_tokens import SpeechTokens
    from .text import Tokenizer, Word

__all__ = [
    "AudioPreprocessing",
    "AudioSource",
    "Damage",
    "Fit",
    "Geometry",
    "ImagePreprocessing",
    "ImageSource",
    "Recording",
    "SpeechTokens",
    "Tokenizer",
    "Word",
    "find_images",
    "find_recordings",
    "load_audio",
    "load_image",
    "read_image",
]

__getattr__ = lazily(
    __name__,
    {
        ".audio": "AudioSource Recording find_recordings load_audio",
        ".damage": "Damage",
        ".geometry": "Fit Geometry",
        ".image": "ImageSource find_images load_image read_image",
        ".mel": "AudioPreprocessing",
        ".preprocess": "ImagePreprocessing",
        ".speech_tokens": "SpeechTokens",
        ".text": "Tokenizer Word",
    },
)
