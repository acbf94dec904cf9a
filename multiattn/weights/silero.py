"""The weights of Silero VAD, read out of the installed package `silero-vad`.

The package itself is not imported: doing so sets the number of torch's threads, and its own loader runs TorchScript.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..errors import ModelError
from ..models.voice_activity import VoiceActivity
from .state import load_into
from .table import KeyTable, Row
from .tensor_files import read_safetensors

_PACKAGE = "silero_vad"
_FILE = "data/silero_vad_16k.safetensors"
_TABLE = KeyTable(
    "silero-vad",
    (
        Row("spectrum.weight", "stft_conv.weight"),
        Row("conv{i}.{p}", "conv{i}.{p}"),
        *(
            Row(f"recurrent.{name}_l0", f"lstm_cell.{name}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ),
        Row("head.{p}", "final_conv.{p}"),
    ),
)


@cache
def load_voice_activity() -> VoiceActivity:
    """Return the detector, in eval mode on the CPU, where it takes about two seconds for an hour of sound.

    Raises:
        ModelError: The package is not installed, or its file is damaged or of another architecture.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelError(
            "voice activity detection needs the package silero-vad, which is not installed: pip install silero-vad, or "
            "turn it off (vad='off', --vad off)"
        )
    path = Path(spec.origin).parent / _FILE
    if not path.is_file():
        raise ModelError(f"silero-vad must have the file {_FILE}, but lacks it: pip install 'silero-vad>=6'")
    model = VoiceActivity()
    load_into(model, read_safetensors(path), table=_TABLE, where=str(path))
    return model.requires_grad_(False).eval()
