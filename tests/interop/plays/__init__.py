"""The plays of `make interop`; each module registers its own by being imported."""

import importlib
import pkgutil


def load() -> None:
    """Import every module of this folder."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
