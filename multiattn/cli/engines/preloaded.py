"""What every worker needs, imported once by the process that workers are forked from. Nothing here starts a thread."""

from ... import pipelines as _pipelines  # noqa: F401
