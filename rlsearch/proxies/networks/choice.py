"""The networks by name."""

from rlsearch.proxies.networks.conv1d import PopulationConv1d
from rlsearch.proxies.networks.mlp import PopulationMLP

NETWORKS: dict[str, type[PopulationMLP] | type[PopulationConv1d]] = {"mlp": PopulationMLP, "conv1d": PopulationConv1d}
