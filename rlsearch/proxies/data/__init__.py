"""Data sets without a download: generated, bundled, or read from files of the user's."""

from rlsearch.proxies.data.arrays import Npz as Npz
from rlsearch.proxies.data.arrays import NpzRegression as NpzRegression
from rlsearch.proxies.data.arrays import Safetensors as Safetensors
from rlsearch.proxies.data.arrays import SafetensorsRegression as SafetensorsRegression
from rlsearch.proxies.data.base import DATASETS as DATASETS
from rlsearch.proxies.data.base import Dataset as Dataset
from rlsearch.proxies.data.base import Examples as Examples
from rlsearch.proxies.data.cifar import Cifar10 as Cifar10
from rlsearch.proxies.data.cifar import Cifar100 as Cifar100
from rlsearch.proxies.data.digits import Digits as Digits
from rlsearch.proxies.data.from_files import FileDataset as FileDataset
from rlsearch.proxies.data.harmonics import Harmonics as Harmonics
from rlsearch.proxies.data.memorisation import Memorisation as Memorisation
from rlsearch.proxies.data.mnist import FashionMnist as FashionMnist
from rlsearch.proxies.data.mnist import Mnist as Mnist
from rlsearch.proxies.data.mnist1d import Mnist1d as Mnist1d
from rlsearch.proxies.data.physics import Physics as Physics
from rlsearch.proxies.data.polynomials import Polynomials as Polynomials
from rlsearch.proxies.data.products import Products as Products
from rlsearch.proxies.data.teacher import Teacher as Teacher
from rlsearch.proxies.data.text import Text as Text
from rlsearch.proxies.data.text import TextSequences as TextSequences
