"""What a reward is, and the default one: scores of trained proxies minus latency cost, relative to ReLU.

Only the public part is loaded here; the default reward lives in ``rlsearch.rewards.panel``.
"""

from rlsearch.rewards.base import Reward as Reward
from rlsearch.rewards.base import RewardResult as RewardResult
from rlsearch.rewards.base import Status as Status
