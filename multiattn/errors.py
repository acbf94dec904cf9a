"""The errors a user can cause. Each message names the thing, the reason and, where there is one, the mend."""


class MultiattnError(ValueError):
    """Base of everything a user can cause: the command line prints it as one line and exits with status 1."""


class InputError(MultiattnError):
    """A file, a picture or a data set cannot be used."""


class ModelError(MultiattnError):
    """A model, its directory, its configuration or a request made of it cannot be used."""
