"""tensorflow-addons, which this module alone imports."""

import functools
import types
import warnings


@functools.cache
def addons() -> types.ModuleType:
    """Returns tensorflow-addons. Call it late: the import takes a second, and few need it."""
    with warnings.catch_warnings():
        # It announces its end of life at import.
        warnings.simplefilter("ignore")
        import tensorflow_addons
    return tensorflow_addons
