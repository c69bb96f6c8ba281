"""Room for connections: limited, and shared between those who ask for it."""

from collections import Counter
from collections.abc import Iterator

from taskward.signer.arrival import Arrival


class Room:
    """Arrivals of at most `capacity_bytes` together, by their weight; not for several threads."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._arrivals: dict[Arrival, None] = {}  # the oldest first

    def __iter__(self) -> Iterator[Arrival]:
        return iter(tuple(self._arrivals))

    def __contains__(self, arrival: Arrival) -> bool:
        return arrival in self._arrivals

    def enter(self, arrival: Arrival) -> None:
        """The caller sees to it that `one_too_many` goes."""
        self._arrivals[arrival] = None

    def leave(self, arrival: Arrival) -> None:
        """Also for one that is not here."""
        self._arrivals.pop(arrival, None)

    def one_too_many(self) -> Arrival | None:
        """Who has to go, if anybody: of whoever takes the most room, the oldest that waits for its own other side.

        So nobody loses a place to one who has more of them, and one's own newest call gets through. Nobody gets more
        than half of the room, since those being served keep their place.
        """
        shares: Counter[int | str] = Counter()
        for arrival in self._arrivals:
            shares[arrival.account] += arrival.weight
        most = 0 if shares.total() > self._capacity_bytes else self._capacity_bytes // 2
        waiting = [each for each in self._arrivals if not each.at_work and shares[each.account] > most]
        return max(waiting, key=lambda each: shares[each.account], default=None)  # the first of the greatest
