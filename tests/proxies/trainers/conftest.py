import copy

import pytest

from rlsearch.proxies.trainers import population


@pytest.fixture
def trained(monkeypatch):
    """The networks that were trained, as they were when they were scored."""
    networks = []
    counted = population.counted

    def keeping(task, network, *arguments):
        networks.append(copy.deepcopy(network))  # the trainer goes on with its own
        return counted(task, network, *arguments)

    monkeypatch.setattr(population, "counted", keeping)
    return networks
