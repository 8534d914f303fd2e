"""The gymnasium side of rlsearch: building a formula token by token is an episode.

Importing this registers ``rlsearch/Activation-v0``. It knows formulas and a reward callable, nothing of networks,
and loads neither torch nor stable-baselines3; :mod:`rlsearch_envs.lockstep` needs the latter.
"""

import gymnasium

from rlsearch_envs.activation import ActivationEnv as ActivationEnv
from rlsearch_envs.curve import CurveReward as CurveReward
from rlsearch_envs.observation import ObservationLayout as ObservationLayout

gymnasium.register(id="rlsearch/Activation-v0", entry_point="rlsearch_envs.activation:ActivationEnv")
