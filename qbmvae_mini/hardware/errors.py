"""What goes wrong with hardware, each in one sentence and without a secret."""

import re

#: Exceptions of D-Wave's client, by name: what it means and what to do.
_SENTENCES = {
    "SolverAuthenticationError": "the token was refused; copy it anew from "
    "your account, into DWAVE_API_TOKEN or `dwave config create`",
    "ResourceAuthenticationError": "the token was refused; copy it anew from "
    "your account, into DWAVE_API_TOKEN or `dwave config create`",
    "SolverOfflineError": "the device is offline; try again later, or go on "
    "with a simulator",
    "SolverNotFoundError": "no such device is open to this account; leave the "
    "solver's name out, or ask which ones there are by `dwave solvers`",
    "PollingTimeout": "no answer came in time; the call may still be "
    "charged, so look at your account before you try again",
    "RequestTimeout": "no answer came in time; the call may still be "
    "charged, so look at your account before you try again",
    "ConnectionError": "the service was not reached; is there a network?",
    "ConnectTimeout": "the service was not reached; is there a network?",
}


#: What to do where the client of a mock or a device is not there.
NOT_INSTALLED = "dwave-system is not installed: pip install dwave-system"


class DeviceError(RuntimeError):
    """A device did not answer as asked; nothing of the run is lost."""


class BudgetError(DeviceError):
    """A call that would cost more than is left, and was not made."""


class TapeError(DeviceError):
    """A tape that is damaged, or holds no answer to the problem."""


def device_error(error, who):
    """The `DeviceError` of another library's exception.

    Long words of its message are left out: one may be a token.

    Parameters
    ----------
    error : Exception
    who : str
        Names the device in the sentence.
    """
    if isinstance(error, DeviceError):
        return error
    for kind in type(error).__mro__:
        if kind.__name__ in _SENTENCES:
            return DeviceError(f"{who}: {_SENTENCES[kind.__name__]}")
    said = re.sub(r"\S{16,}", "...", str(error).partition("\n")[0])[:200]
    return DeviceError(f"{who} failed ({type(error).__name__}: {said})")
