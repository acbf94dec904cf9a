"""Where inputs are computed: in this process, in several of this machine, or on the machines of a Ray cluster.

A command (`Predictor`) finds the inputs, states how they are computed, and writes what comes of them, whatever the
engine is; an engine carries inputs to where models are, and what came of them back, in order. `pool` divides the inputs
among workers and does those of a worker that ends again; `processes` and `ray_actors` are the two kinds of workers, and
`worker` is what each of them does.
"""

import argparse

from .pool import Pool, Workers
from .processes import Processes
from .worker import Place

__all__ = ["Place", "Pool", "workers_of"]


def workers_of(args: argparse.Namespace, computation: bytes) -> Workers:
    """Return the workers that the options of a command ask for.

    Args:
        args: The options.
        computation: A pickled `Computation`.
    """
    if args.engine == "ray":
        from .ray_actors import RayActors

        return RayActors(computation, args.processes, address=args.address, uses_gpus=args.device != "cpu")
    return Processes(computation, args.processes)
