from __future__ import annotations

from tellapart.core.parts import part
from tellapart.core.plan import Plan, SampleKeys, cut, generator


@part(paper="(plain baseline)", place="pairs")
def shuffle(keys: SampleKeys, *, seed: int, epoch: int, batch_size: int) -> Plan:
    """Every row once an epoch, in an order of the epoch's own.

    Returns `n // batch_size` batches of row numbers (one, when the collection is smaller than a batch); a remainder
    that fills no batch waits for another epoch. Rows of one duplicate group may meet in a batch: the relation then
    ignores them; `no-duplicates` keeps them apart.
    """
    return cut(generator(seed, epoch).permutation(len(keys)), batch_size)
