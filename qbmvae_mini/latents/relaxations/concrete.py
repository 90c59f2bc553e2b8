"""Binary concrete: a bit as a logistic number, cooled."""

import math

import torch
from torch.nn import functional as F

from qbmvae_mini.latents.relaxations.base import _Tuned, _uniform


class BinaryConcrete(_Tuned):
    """Numbers in (0, 1) near a bit: ``sigmoid((l + L) / temperature)``.

    L is logistic noise (Maddison, Mnih and Teh 2017, 1611.00712, appendix B;
    Jang, Gu and Poole 2017, 1611.01144). The number exceeds 1/2 exactly when
    the bit is one. Training pairs it with the KL of the *bits*, and then the
    loss is no bound of any likelihood: what the posterior's ``r(zeta | z)``
    says beyond the bit is not paid for. `smooth` pays, with a prior whose
    numbers have ``l = 0``.

    Parameters
    ----------
    temperature : float or Schedule
        Above 0. Towards 0 the numbers become bits and the gradient's
        variance grows without bound; at high temperatures all are near 1/2.

    Raises
    ------
    ValueError
        If `temperature` is not a finite number above 0.
    """

    name = "binary concrete"
    smooths = True

    def __init__(self, temperature=0.5):
        super().__init__("temperature", temperature)

    def rsample(self, logits):
        """One relaxed draw, with the gradient of what was computed."""
        noise = torch.logit(_uniform(logits.shape, logits))
        return torch.sigmoid((logits + noise) / self.temperature)

    def smooth(self, z, logits):
        """Numbers given bits, and the log ratio; see `Relaxation`.

        Both ratios are those of logistic densities around 0 and around the
        logits, cut to the side of the bit: the temperature cancels.
        """
        side = 2 * z - 1
        towards = side * logits
        # How far l + L lies on the side of the bit. Its survival function
        # sigmoid(towards - far) / sigmoid(towards) is set to a uniform number
        # and solved for `far`, in a form that neither overflows nor cancels.
        u = _uniform(z.shape, z)
        far = F.softplus(towards + torch.log1p(-u)) - torch.log(u)
        prior = _log_logistic(far) + math.log(2)
        posterior = _log_logistic(far - towards) - F.logsigmoid(towards)
        zeta = torch.sigmoid(side * far / self.temperature)
        return zeta, (prior - posterior).sum(-1)


def _log_logistic(x):
    """Log density of the standard logistic law."""
    return -F.softplus(x) - F.softplus(-x)
