"""The score function estimator: unbiased and noisy."""

from qbmvae_mini.latents.relaxations.base import Relaxation, _bits, log_q


class ScoreFunction(Relaxation):
    r"""Score function estimator with the other draw as baseline.

    .. math:: \nabla E_q[f] = E_q[f(z) \nabla \log q(z)]

    (Williams 1992, REINFORCE). With two independent draws z, z' the estimate
    is ``(f(z) - f(z')) (grad log q(z) - grad log q(z')) / 2``: each draw's
    value is the baseline of the other, which leaves it unbiased (Kool, van
    Hoof and Welling 2019, leave-one-out baseline). It needs no derivative of
    `f`, and two of its values. Its noise grows with the number of bits.
    """

    name = "score function"

    def rsample(self, logits):
        """True bits, without a gradient."""
        return _bits(logits)

    def expectation(self, f, logits):
        """Mean of `f` at two draws, (batch,); see `Relaxation`."""
        first, second = _bits(logits), _bits(logits)
        here, there = f(first), f(second)
        advantage = (here - there).detach() / 2
        score = advantage * (log_q(logits, first) - log_q(logits, second))
        return (here + there) / 2 + (score - score.detach())
