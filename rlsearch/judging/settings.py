"""The settings of judging."""

from pydantic import Field

from rlsearch.common.settings import Settings


class RescoringSettings(Settings):
    """How the best functions are trained again, before the round's results steer the policy."""

    every: int = Field(1, ge=0, description="rounds from one rescoring to the next; 0: none")
    best: int = Field(8, ge=1, description="how many of the best functions are trained again")
    max_seeds: int = Field(8, ge=2, le=1000, description="number of seeds after which a function is not trained again")
    epochs_factor: int = Field(
        1, ge=1, description="how many times as long they are trained; then only the longer training counts"
    )


class RefiningSettings(Settings):
    """How the constants of the best functions are tuned: trained with the networks, read off, and judged again."""

    every: int = Field(0, ge=0, description="rounds from one refinement to the next, which is a round too; 0: none")
    best: int = Field(3, ge=1, description="how many of the best functions with constants are refined")
    seeds: int = Field(2, ge=1, le=1000, description="from how many seeds constants are trained on each proxy")

    def is_due(self, round_number: int) -> bool:
        """Whether a round is one of refinement."""
        return self.every > 0 and (round_number + 1) % self.every == 0
