"""Gradients through a bit: differentiable stand-ins for a Bernoulli draw.

Each relaxation maps logits to a draw of the same shape. `straight_through`
returns true bits and pretends, in the backward pass only, that they were
their means. `binary_concrete` returns numbers between 0 and 1: it trains a
*different*, smoothed model, whose score is not the discrete model's.
"""

import torch


def straight_through(logits):
    """Bits, with the gradient of their means.

    The forward value is exact; the gradient is biased (Bengio, Leonard and
    Courville 2013, 1308.3432, section 4).
    """
    mean = torch.sigmoid(logits)
    bits = (torch.rand_like(mean) < mean).to(mean.dtype)
    return bits + (mean - mean.detach())  # the bracket is exactly zero


def binary_concrete(logits, temperature=0.5):
    """Numbers in (0, 1) near a bit, with the gradient of what was computed.

    ``sigmoid((logits + L) / temperature)`` with L logistic noise (Maddison,
    Mnih and Teh 2017, 1611.00712, Eq. 11; Jang, Gu and Poole 2017).

    Parameters
    ----------
    logits : Tensor
    temperature : float
        Above 0. Towards 0 the draws become bits and the gradient's variance
        grows without bound.

    Raises
    ------
    ValueError
        If `temperature` is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is above 0, not {temperature!r}")
    uniform = torch.rand_like(logits)
    # torch.rand may return 0 exactly, whose logit is -infinity.
    noise = torch.logit(uniform, eps=torch.finfo(logits.dtype).eps)
    return torch.sigmoid((logits + noise) / temperature)


#: Relaxations by the name that `BoltzmannLatent` and `QBMVAE` take.
RELAXATIONS = {
    "straight-through": straight_through,
    "binary concrete": binary_concrete,
}


def relaxation(choice):
    """The relaxation of that name; a function of logits passes through.

    Raises
    ------
    ValueError
        For an unknown name, listing those that exist.
    """
    if callable(choice):
        return choice
    if choice in RELAXATIONS:
        return RELAXATIONS[choice]
    known = ", ".join(repr(name) for name in RELAXATIONS)
    raise ValueError(f"no relaxation is called {choice!r}; there are {known}")
