"""The errors that a user can cause. Each message names the subject, the reason and, where there is one, the remedy."""


class MultiattnError(ValueError):
    """The base class: the command line prints such an error as one line and exits with status 1."""


class InputError(MultiattnError):
    """A file, a picture, a recording or a data set cannot be used."""


class ModelError(MultiattnError):
    """A model, its directory, its configuration or an option for it cannot be used."""
