"""One part, one model: what two models shared, each would change for both."""

import gc
import weakref

#: By the id of a part: weak references to it and to the model that has it.
_HOLDERS = {}


def claim(parts, model):
    """Note that `parts` belong to `model`, as long as it lives.

    Parameters
    ----------
    parts : list
        A latent, its machine, its sampler, for instance.
    model : VAE

    Raises
    ------
    ValueError
        If one of them belongs to another model; nothing is noted then.
    """
    if any(_is_taken(part, model) for part in parts):
        gc.collect()  # a model that is only waiting to be freed has nothing
    for part in parts:
        if _is_taken(part, model):
            raise ValueError(
                f"this {type(part).__name__} is part of another model, and "
                "each of the two would change it for both; hand over a new "
                "one, or copy.deepcopy(...) of it"
            )
    for part in parts:
        _HOLDERS[id(part)] = _until_gone(part), weakref.ref(model)


def _until_gone(part):
    """A weak reference that takes the note away when `part` is freed."""
    key, holders = id(part), _HOLDERS
    return weakref.ref(part, lambda _: holders.pop(key, None))


def _is_taken(part, model):
    known, holder = _HOLDERS.get(id(part), (None, None))
    if known is None or known() is not part:
        return False
    return holder() not in (None, model)
