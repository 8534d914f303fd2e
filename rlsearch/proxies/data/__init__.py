"""Data sets without a download: generated, bundled, or from files of the user's; one file each."""

from rlsearch.proxies.data.base import DATASETS as DATASETS
from rlsearch.proxies.data.base import Dataset as Dataset
from rlsearch.proxies.data.base import Examples as Examples
from rlsearch.proxies.data.digits import Digits as Digits
from rlsearch.proxies.data.mnist1d import Mnist1d as Mnist1d
from rlsearch.proxies.data.physics import Physics as Physics
from rlsearch.proxies.data.teacher import Teacher as Teacher
from rlsearch.proxies.data.text import Text as Text
