"""What a device costs, before it is asked."""

import types
from typing import NamedTuple

from qbmvae_mini.checks import check_real
from qbmvae_mini.hardware.errors import BudgetError


class Cost(NamedTuple):
    """What some draws cost; ``money`` is None without a price."""

    calls: int
    reads: int
    seconds: float
    money: float | None


def access_time(properties, n_qubits, reads, annealing_time=None):
    """Microseconds of device time that one call takes, by its timing model.

    Parameters
    ----------
    properties : dict
        Of the device; its ``problem_timing_data`` is the model.
    n_qubits, reads : int
    annealing_time : float, optional
        Microseconds of one anneal; by default the device's own.
    """
    from dwave.cloud.solver import StructuredSolver

    if not properties.get("problem_timing_data"):
        raise BudgetError(
            "this device has no timing model (problem_timing_data), so no "
            "cost can be told before a call"
        )
    # The model is a method of a connected solver, and asks for no more of it.
    solver = types.SimpleNamespace(properties=properties)
    time = StructuredSolver.estimate_qpu_access_time(
        solver, n_qubits, reads, annealing_time=annealing_time
    )
    return float(time)


class Budget:
    """Device time that may be spent; a call beyond it is not made.

    One account: copies of a sampler share it. A call counts when it is made,
    by the estimate, and its answer corrects that; so a failed call counts.

    Parameters
    ----------
    seconds : float
        Of device time.
    price_per_hour : float, optional
        What your contract says, in any currency; the package knows no prices.

    Attributes
    ----------
    spent : float
        Seconds.
    calls : int
    """

    def __init__(self, seconds, *, price_per_hour=None):
        self.seconds = check_real("seconds", seconds, above=0)
        if price_per_hour is not None:
            price_per_hour = check_real(
                "price_per_hour", price_per_hour, least=0
            )
        self.price_per_hour = price_per_hour
        self.spent, self.calls = 0.0, 0

    @property
    def left(self):
        """Seconds that may still be spent."""
        return self.seconds - self.spent

    def money(self, seconds):
        """What `seconds` of device time cost, or None without a price."""
        if self.price_per_hour is None:
            return None
        return seconds / 3600 * self.price_per_hour

    def check(self, seconds):
        """Refuse what would cost more than is left.

        Raises
        ------
        BudgetError
        """
        if seconds > self.left:
            raise BudgetError(
                f"this would take {seconds:.3f} s of device time and "
                f"{self.left:.3f} s of the budget of {self.seconds:g} s are "
                "left, so the device was not asked; give a larger Budget, or "
                "ask for fewer reads"
            )

    def charge(self, seconds):
        """Spend `seconds` on a call that is about to be made."""
        self.check(seconds)
        self.spent += seconds
        self.calls += 1

    def correct(self, estimate, seconds):
        """Replace the estimate of the last call by what it took."""
        self.spent += seconds - estimate

    def __deepcopy__(self, memo):
        return self

    def __repr__(self):
        money = self.money(self.spent)
        price = "" if money is None else f", {money:.2f} in money"
        return (
            f"Budget({self.spent:.3f} of {self.seconds:g} s spent in "
            f"{self.calls} calls{price})"
        )
