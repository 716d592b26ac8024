"""The seam `Choker`: whom do I serve?"""

from __future__ import annotations

from abc import ABC, abstractmethod

from livestream.swarm.peer import Peer

__all__ = ["Choker"]


class Choker(ABC):
    """Decides which requests are answered."""

    @abstractmethod
    def serves(self, peer: Peer, index: int, now: int) -> bool:
        """Whether to answer this request. If not, it is rejected at once (BEP 6)."""
