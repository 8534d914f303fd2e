"""The settings of judging."""

from pydantic import Field

from rlsearch.common.settings import Settings


class RescoringSettings(Settings):
    """How the best functions are trained again, before the round's results steer the policy."""

    every: int = Field(1, ge=0, description="rounds between two rescorings; 0 for none")
    best: int = Field(8, ge=1, description="functions that are rescored")
    max_seeds: int = Field(8, ge=2, le=1000, description="seeds of a function after which it is known well enough")
    epochs_factor: int = Field(
        1, ge=1, description="how much longer they are trained; the longer training alone counts"
    )
