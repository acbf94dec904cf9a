"""One module for each command: `SUMMARY`, `add_arguments(parser)`, and `run(args)`, which returns the exit status.

They import torch inside `run`, never at the top, so that every `--help` answers at once.
"""
