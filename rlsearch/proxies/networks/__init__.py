"""Networks with a leading population axis, one file each."""

from rlsearch.proxies.networks.base import NETWORKS as NETWORKS
from rlsearch.proxies.networks.base import Layer as Layer
from rlsearch.proxies.networks.base import Network as Network
from rlsearch.proxies.networks.conv1d import Conv1d as Conv1d
from rlsearch.proxies.networks.mlp import Mlp as Mlp
from rlsearch.proxies.networks.resnet import ResNet as ResNet
from rlsearch.proxies.networks.transformer import Transformer as Transformer
