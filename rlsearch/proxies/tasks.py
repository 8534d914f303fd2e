"""What a score is: its name, its unit, and how a difference between two of them is said."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """What the scores of a proxy mean. Of two scores the higher one is better, whatever the task.

    Tables, axes and verdicts ask a task for their words; none of them knows what it is that they show.

    Attributes:
        name: ``"classification"``.
        score: What a score is called: ``"accuracy"``.
        unit: Of a difference, written out for headings: ``"percentage points"``.
        gain: Of a difference, as a sentence says it: ``"points"``. A task whose scores are losses with the sign
            changed says here which way is better: ``"nats lower"``.
        scale: Of a score times ``factor``: ``"%"``.
        factor: A difference of scores times this is in ``unit``, and a score times this is in ``scale``.
        decimals: Of a number in ``unit`` or in ``scale``.
        score_decimals: Of a score as tables show it.
    """

    name: str
    score: str
    unit: str
    gain: str
    scale: str
    factor: float = 1.0
    decimals: int = 3
    score_decimals: int = 4

    @property
    def axis(self) -> str:
        """Title of an axis of scores: ``"test accuracy, %"``."""
        return f"test {self.score}, {self.scale}"

    @property
    def difference_axis(self) -> str:
        """Title of an axis of differences: ``"difference in test accuracy, percentage points"``."""
        return f"difference in test {self.score}, {self.unit}"

    @property
    def resolution(self) -> float:
        """The smallest difference from zero that :attr:`decimals` can show, in ``unit``."""
        return float(10.0**-self.decimals)

    def in_words(self, difference: float) -> str:
        """Says a difference with its sign and unit: ``"+7.1 points"``."""
        return f"{self.number(difference, sign=True)} {self.gain}"

    def number(self, difference: float, *, sign: bool = False) -> str:
        """Writes a difference in ``unit``; with one more decimal where it would look like none.

        Args:
            difference: Of two scores.
            sign: Whether a plus is written.
        """
        value = self.factor * difference
        decimals = self.decimals if abs(value) >= self.resolution else self.decimals + 1
        rounded = round(value, decimals) + 0.0  # no minus before a zero
        if not rounded:
            decimals = self.decimals
        return format(rounded, f"{'+' if sign else ''}.{decimals}f")

    def cell(self, difference: float) -> str:
        """Writes a difference for a column of a table, where all have as many decimals: ``"+7.1"``."""
        return format(self.factor * difference, f"+.{self.decimals}f")

    def level(self, score: float) -> str:
        """Writes a score with its scale: ``"64.9 %"``."""
        return f"{self.factor * score:.{self.decimals}f} {self.scale}"

    def score_text(self, score: float) -> str:
        """Writes a score, or the standard error of one, as tables show it: ``"0.6495"``."""
        return format(score, f".{self.score_decimals}f")


CLASSIFICATION = Task(
    name="classification",
    score="accuracy",
    unit="percentage points",
    gain="points",
    scale="%",
    factor=100.0,
    decimals=1,
)
"""Examples have classes; the score is the share that is told right."""
