"""The `multiattn` command: one module for each verb, with `parser()` and `run(args)`.

`main` finds the verb; `options` has the parser and the options that verbs share, `predict` the loop of the verbs that
predict, `evaluate` that of the evaluators, `output` what is printed. A verb imports torch inside `run`, never at the
top of its module, so that every `--help` answers at once; `demo_pages` and `info_details`, which do import it, are
reached only from there.
"""
