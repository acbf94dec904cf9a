"""Every test runs with the library's shape annotations checked at each call."""

from jaxtyping import install_import_hook

# before the first import of the package: the hook rewrites modules as they are loaded
install_import_hook("multiattn", "beartype.beartype")
