"""Data sets without a download: generated or bundled, one file each."""

from rlsearch.proxies.data.base import DATASETS as DATASETS
from rlsearch.proxies.data.base import Dataset as Dataset
from rlsearch.proxies.data.base import Examples as Examples
from rlsearch.proxies.data.digits import Digits as Digits
from rlsearch.proxies.data.mnist1d import Mnist1d as Mnist1d
