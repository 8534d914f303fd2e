import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keeps the tests away from the machine's cache, and lets them share what they generate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLSEARCH_CACHE", str(tmp_path_factory.mktemp("proxies-cache")))
        yield
