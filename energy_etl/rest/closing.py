"""What is closed at the end of a `with`: every client."""

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """Usable in a `with`; errors go on."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and files."""
