"""How long work tells others how it goes on: a run, a study, a benchmark."""

from collections.abc import Sequence


class Events:
    """Is told how work goes on. Here every method does nothing; a listener overrides those that it wants.

    A method may raise ``KeyboardInterrupt`` to stop the work, which is asked only where it can be stopped safely.
    """

    def on_progress(self, what: str, done: float, wanted: int) -> None:
        """So much of a part of the work is done.

        Args:
            what: The part, in a few words, such as ``"final trainings"``.
            done: How much of it is done.
            wanted: How much there is of it.
        """

    def on_note(self, text: str) -> None:
        """Something that whoever waits should know, in a line.

        Args:
            text: The line.
        """


class AllOf(Events):
    """Passes on what it is told to several listeners, in order."""

    def __init__(self, listeners: Sequence[Events]) -> None:
        self.listeners = listeners

    def on_progress(self, what: str, done: float, wanted: int) -> None:
        """Tells all."""
        for listener in self.listeners:
            listener.on_progress(what, done, wanted)

    def on_note(self, text: str) -> None:
        """Tells all."""
        for listener in self.listeners:
            listener.on_note(text)


class Prefixed(Events):
    """Passes on what it is told with a few words before it."""

    def __init__(self, prefix: str, listener: Events) -> None:
        self.prefix = prefix
        self.listener = listener

    def on_progress(self, what: str, done: float, wanted: int) -> None:
        """Tells the listener."""
        self.listener.on_progress(f"{self.prefix}{what}", done, wanted)

    def on_note(self, text: str) -> None:
        """Tells the listener."""
        self.listener.on_note(text)
