"""`python -m tests.benchmarks [forward training checkpointing memory caption speech_tiny ...] [--rounds N]`."""

import argparse
import platform

import torch

from .answer import answer
from .caption import caption
from .export import export
from .half_training import half_training
from .long_inputs import long_attention, long_picture, long_sound, reversible
from .memory import memory
from .precision import precision
from .serve import overhead, throughput_answer, throughput_classify
from .serve_load import serve, serve_load, serve_memory
from .speech import speech_base, speech_features, speech_long, speech_tiny
from .startup import startup
from .training_step import checkpointing, compiling
from .vit import capture, forward, training
from .window import window

BENCHMARKS = {
    "forward": forward,
    "training": training,
    "checkpointing": checkpointing,
    "compiling": compiling,
    "half_training": half_training,
    "capture": capture,
    "memory": memory,
    "window": window,
    "long_attention": long_attention,
    "long_sound": long_sound,
    "long_picture": long_picture,
    "reversible": reversible,
    "caption": caption,
    "answer": answer,
    "speech_features": speech_features,
    "speech_tiny": speech_tiny,
    "speech_base": speech_base,
    "speech_long": speech_long,
    "startup": startup,
    "precision": precision,
    "export": export,
    "serve": serve,
    "serve_classify": throughput_classify,
    "serve_answer": throughput_answer,
    "serve_overhead": overhead,
    "serve_load": serve_load,
    "serve_memory": serve_memory,
}


def main() -> None:
    """Run the chosen benchmarks, all where none is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--rounds", type=int, default=40, help="rounds of the quickest benchmark (default: 40)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, one thread")
    for name in args.names or BENCHMARKS:
        BENCHMARKS[name](args.rounds)


if __name__ == "__main__":
    main()
