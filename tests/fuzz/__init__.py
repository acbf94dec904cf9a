"""A deterministic fuzzer: files that are nearly right, given to the real readers, in processes that may die.

    python -m tests.fuzz --inputs 20000                          all kinds; prints the table
    python -m tests.fuzz --kind picture --index 123 --seed 7     one input again, with its traceback

An input follows from its kind, the seed and its index alone. `kinds` says how each kind is made and read, `mutate`
changes files, `worker` runs in a process of its own, `pool` watches such processes, and `corpus` has the inputs that
were found.
"""
