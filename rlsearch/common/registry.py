"""Tables of what can be chosen by name, built from classes that say their own names."""

from collections.abc import Iterator
from typing import ClassVar, Generic, Protocol, TypeVar

from rlsearch.errors import ConfigError, nearest


class Named(Protocol):
    """A class that says what it is called in a config."""

    name: ClassVar[str]


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """One object of each class that was added, by the class's ``name``.

    Args:
        what: What the names stand for, in a word or two, for messages.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._by_name: dict[str, T] = {}

    def add(self, cls: type[T]) -> type[T]:
        """Adds a class, whose constructor takes no arguments; use it as a decorator.

        A class of the same module and name takes the place of the one before, as when a notebook's cell runs again.

        Raises:
            ConfigError: If another class has that name already.
        """
        known = self._by_name.get(cls.name)
        if known is not None:
            if type(known) is cls:
                return cls
            path, known_path = (f"{c.__module__}.{c.__qualname__}" for c in (cls, type(known)))
            if path != known_path:
                raise ConfigError(f"{path} cannot be the {self._what} {cls.name!r}: {known_path} has that name already")
        self._by_name[cls.name] = cls()
        return cls

    def __getitem__(self, name: str) -> T:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        """Yields the names in the order in which they were added."""
        return iter(self._by_name)

    def checked(self, name: str) -> str:
        """The name itself, if there is such a class.

        Raises:
            ValueError: If there is none, with the names that there are and the nearest.
        """
        if name not in self._by_name:
            names = ", ".join(self._by_name)
            raise ValueError(f"unknown {self._what} {name!r}; expected one of {names}{nearest(name, self._by_name)}")
        return name
