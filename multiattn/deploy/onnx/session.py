"""One ONNX graph on onnxruntime."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...errors import ModelError, reading

_EXTRA = "needs onnxruntime, which is not installed: `pip install multiattn[onnxruntime]`"


class Session:
    """An ONNX graph, ready to compute on the CPU; safe to call from several threads.

    Args:
        path: The graph's file.
        threads: Threads to compute with; None for `OMP_NUM_THREADS`, or else as many as there are cores.

    Raises:
        ModelError: The file cannot be used, or onnxruntime is not installed.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ModelError(f"--runtime onnxruntime {_EXTRA}") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors, which are raised, too
        stated = os.environ.get("OMP_NUM_THREADS", "")
        # as torch does; 0 is for as many as there are cores
        options.intra_op_num_threads = threads or (int(stated) if stated.isdigit() else 0)
        # threads that wait for work sleep, so that a short command takes no processor time for nothing
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with reading(f"`{path}`", "an ONNX graph", error=ModelError):
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = tuple(one.name for one in self._session.get_inputs())
        self.outputs = tuple(one.name for one in self._session.get_outputs())

    def __call__(self, **inputs: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the outputs by name."""
        return dict(zip(self.outputs, self._session.run(None, inputs), strict=True))
