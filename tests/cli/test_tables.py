import pytest
from helpers_findings import NATS, typical

from rlsearch.cli.tables import print_findings


@pytest.fixture
def printed(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")

    def printed(findings):
        print_findings(findings)
        return capsys.readouterr().out

    return printed


def test_findings_of_a_classification(printed):
    out = printed(typical())
    assert "Difference in percentage points to each baseline; * is significant" in out
    assert "  1   +5.1*   +15.0*" in out
    assert "0.6495 ± 0.0020" in out
    assert "Test accuracy: mean ± standard error. Latency: median" in out
    assert "beats ReLU (+15.0 points, 95 %" in out


def test_findings_of_another_task_are_in_its_unit(printed):
    """The same scores, taken for minus cross-entropies."""
    out = printed(typical(words=NATS))
    assert "Difference in nats to each baseline; * is significant" in out
    assert "  1   +0.051*   +0.150*" in out
    assert "Test minus cross-entropy: mean ± standard error. Latency: median" in out
    assert "beats ReLU (+0.150 nats lower, 95 %" in out
    assert "point" not in out
    assert "accuracy" not in out
