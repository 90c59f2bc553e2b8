"""Cases by what is struck; importing a module enters its cases."""

from faults.sections import (
    disk,
    inputs,
    runs,
    samplers,
    saved_models,
    surroundings,
)

__all__ = [
    "disk",
    "inputs",
    "runs",
    "samplers",
    "saved_models",
    "surroundings",
]
