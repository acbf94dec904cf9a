"""The `multiattn` command: one module for each verb, with `SUMMARY`, `parser()` and `run(args)`.

A verb imports torch inside `run`, never at the top of its module, so that every `--help` answers at once.
"""
