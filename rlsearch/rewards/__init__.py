"""What a reward is, and the default one: accuracy of trained proxies minus latency cost, relative to ReLU.

Only the protocol is loaded here; the default reward lives in ``rlsearch.rewards.proxy``.
"""

from rlsearch.rewards.protocol import Reward as Reward
from rlsearch.rewards.protocol import RewardResult as RewardResult
from rlsearch.rewards.protocol import Status as Status
