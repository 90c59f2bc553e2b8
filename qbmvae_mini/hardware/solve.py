"""Any vendor's ``.solve(ising_matrix) -> +-1`` as a dimod sampler."""

import dimod
import numpy as np

from qbmvae_mini.checks import check_real, check_whole
from qbmvae_mini.hardware.errors import DeviceError, device_error


class IsingSolver(dimod.Sampler):
    r"""Spins by an object that raises ``s'Ms / 2`` for whole numbers M.

    Field and couplings times one gain are rounded to whole numbers of `bits`
    bits; spin 0 is auxiliary and carries the fields. What does not fit is
    refused: clipping would change single couplings in silence.

    Parameters
    ----------
    client
        Has ``solve(matrix)``, which returns spins, (n + 1,) or (k, n + 1).
    bits : int
        8 or 14 of a coherent Ising machine, the sign among them.
    gain : float, optional
        Whole numbers a nat. A client that samples ``exp(s'Ms / (2 T))`` draws
        from the machine's law with a gain of T. By default the largest that
        fits, whatever the temperature becomes: an optimiser's choice.
    """

    parameters = None  # dimod.Sampler asks for both names in the class
    properties = None

    def __init__(self, client, *, bits=8, gain=None):
        self.client = client
        self.bits = check_whole("bits", bits, 2)
        self.gain = gain and check_real("gain", gain, above=0)
        self.properties = {"bits": self.bits, "gain": self.gain}
        self.parameters = {"num_reads": []}

    def sample(self, bqm, *, num_reads=1):
        """Call ``solve`` until there are `num_reads` states."""
        num_reads = check_whole("num_reads", num_reads, 1)
        order, spin = list(bqm.variables), bqm.change_vartype("SPIN", False)
        h, (row, column, J), _ = spin.to_numpy_vectors(order)
        M = np.zeros((len(h) + 1, len(h) + 1))
        M[0, 1:], M[row + 1, column + 1] = -h, -J
        M, most = M + M.T, 2 ** (self.bits - 1) - 1
        gain = self.gain or most / (np.abs(M).max() or 1.0)
        whole = np.rint(gain * M)
        if np.abs(whole).max() > most:
            raise DeviceError(
                f"a weight becomes {np.abs(whole).max():.0f} and {self.bits} "
                f"bits hold {most}; take a smaller gain or smaller weights"
            )
        rows = []
        while len(rows) < num_reads:
            try:
                found = np.atleast_2d(self.client.solve(whole.astype(int)))
            except Exception as error:  # of whatever client; one sentence
                name = type(self.client).__name__
                raise device_error(error, name) from None
            spins = np.isin(found, (-1, 1)).all()
            if not spins or found.shape[1] != len(M) or not len(found):
                raise DeviceError(
                    f"solve returned an array {found.shape}; it returns spins "
                    f"-1 and 1, {len(M)} a row, the auxiliary one first"
                )
            rows.extend(found[:, 1:] * found[:, :1])
        states = np.array(rows[:num_reads], np.int8).reshape(num_reads, -1)
        if bqm.vartype is dimod.BINARY:
            states = (states + 1) // 2
        answer = dimod.SampleSet.from_samples_bqm((states, order), bqm)
        answer.info.update(gain=gain, rounding=np.abs(whole / gain - M).max())
        return answer
