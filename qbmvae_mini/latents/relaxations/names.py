"""Relaxations by the names that latents and `QBMVAE` take."""

from qbmvae_mini.latents.relaxations.base import Relaxation
from qbmvae_mini.latents.relaxations.concrete import BinaryConcrete
from qbmvae_mini.latents.relaxations.exponentials import (
    OverlappingExponentials,
    SpikeAndExponential,
)
from qbmvae_mini.latents.relaxations.score_function import ScoreFunction
from qbmvae_mini.latents.relaxations.straight_through import StraightThrough

#: Relaxations by the name that latents and `QBMVAE` take.
RELAXATIONS = {
    kind.name: kind
    for kind in (
        StraightThrough,
        ScoreFunction,
        BinaryConcrete,
        SpikeAndExponential,
        OverlappingExponentials,
    )
}


def relaxation(choice, **settings):
    """The relaxation of that name; a `Relaxation` passes through.

    Raises
    ------
    TypeError, ValueError
        For anything else, listing the names that exist.
    """
    if isinstance(choice, Relaxation):
        if settings:
            raise ValueError(
                f"{', '.join(settings)} would not reach a relaxation that is "
                f"already built; give it to {type(choice).__name__} itself"
            )
        return choice
    known = ", ".join(repr(name) for name in RELAXATIONS)
    if not isinstance(choice, str):
        raise TypeError(
            f"relaxation is a Relaxation or one of {known}, not {choice!r}"
        )
    if choice not in RELAXATIONS:
        raise ValueError(
            f"no relaxation is called {choice!r}; there are {known}"
        )
    return RELAXATIONS[choice](**settings)
