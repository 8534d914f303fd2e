"""What a reward is, and the default one: accuracy of trained proxies minus latency cost, relative to ReLU.

Only the protocol is loaded here; the default reward lives in ``rlsearch.rewards.accuracy``.
"""
