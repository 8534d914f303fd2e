import json
from dataclasses import replace

import numpy as np
import pytest
from helpers_findings import NATS, baseline, findings_of, noisy, panel, typical

from rlsearch.errors import RunError
from rlsearch.formula import Formula
from rlsearch.studies.comparison import MethodComparison, SearchRecord, write_comparison
from rlsearch.studies.files import to_json
from rlsearch.studies.reading import read_comparison, read_confirmation


def written(folder, findings, proxies, **more):
    (folder / "confirm.json").write_text(to_json(findings, proxies, {"source": findings.source, **more}))
    return read_confirmation(folder)


CASES = {
    "a single proxy": lambda: (typical(), {}),
    "another task": lambda: (typical(words=NATS), {}),
    "caveats": lambda: (typical(caveats=("mind the gap", "and the step")), {}),
    "a panel": panel,
    "nothing compared": lambda: (findings_of([], [baseline("relu", noisy(0.5))]), {}),
    "two seeds, which have no intervals": lambda: (
        findings_of([baseline("silu", [0.5, 0.6])], [baseline("relu", [0.4, 0.5])]), {}
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_was_written_is_read_back(case, tmp_path):
    """What is written of what was read is the same file: nothing that the file has is lost."""
    findings, proxies = CASES[case]()
    # A formula is told from a baseline by its having no name.
    findings = replace(findings, formulas=tuple(replace(f, name="") for f in findings.formulas))
    read = written(tmp_path, findings, proxies)
    again = to_json(read.findings, read.proxies, {"source": findings.source})
    assert again == (tmp_path / "confirm.json").read_text()
    assert read.findings.verdicts == findings.verdicts
    assert read.findings.caveats == findings.caveats
    assert (read.folder, read.trained) == (tmp_path, 0)


def test_a_file_without_words_is_read_by_the_name_of_its_task(tmp_path):
    written(tmp_path, *panel())
    tree = json.loads((tmp_path / "confirm.json").read_text())
    for part in (tree, *tree["by_proxy"].values()):
        del part["words"]
    tree["by_proxy"]["chars-mlp"]["task"] = "juggling"
    (tmp_path / "confirm.json").write_text(json.dumps(tree))
    read = read_confirmation(tmp_path)
    assert read.findings.verdicts == panel()[0].verdicts
    assert read.proxies["spots-mlp"].verdicts == panel()[1]["spots-mlp"].verdicts
    unknown = read.proxies["chars-mlp"].words
    assert (unknown.name, unknown.in_words(0.5)) == ("juggling", "+0.500 minus cross-entropy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "confirm.json cannot be read: "),
        ("{", "confirm.json cannot be read: "),
        ("[]", "confirm.json is damaged: expected an object, got list"),
        ("{}", "confirm.json is damaged: KeyError: 'by_proxy'"),
        ('{"by_proxy": 1}', "confirm.json is damaged: AttributeError"),
    ],
)
def test_a_damaged_file_is_named(text, message, tmp_path):
    if text is not None:
        (tmp_path / "confirm.json").write_text(text)
    with pytest.raises(RunError) as raised:
        read_confirmation(tmp_path)
    assert message in str(raised.value)


def test_a_comparison_is_read_back(tmp_path):
    best = Formula.parse("x * tanh(x)")
    records = {
        "ppo": [SearchRecord(seed, (0.1, 0.2, 0.4 + seed / 10), 9, 1, 4, best) for seed in (0, 1)],
        "random": [SearchRecord(seed, (0.2, 0.1, 0.3), 8, 2, 3, best) for seed in (0, 1)],
    }
    comparison = MethodComparison.of(records, tmp_path, 3, (), None)
    write_comparison(comparison)
    read = read_comparison(tmp_path)
    assert (read.candidates, read.seeds) == (3, 2)
    assert read.runs == ("ppo-0", "ppo-1", "random-0", "random-1")
    assert list(read.curves) == ["ppo", "random"]
    for summary in comparison.methods:
        curve = read.curves[summary.method]
        np.testing.assert_array_equal(curve.value, summary.curve.value)
        np.testing.assert_array_equal(curve.low, summary.curve.low)
        np.testing.assert_array_equal(curve.high, summary.curve.high)
        assert read.final[summary.method].value == summary.final.value
    assert read.better["ppo", "random"].value == comparison.better["ppo", "random"].value == 1.0


def test_a_comparison_without_its_curves_is_damaged(tmp_path):
    (tmp_path / "compare.json").write_text('{"candidates": 3, "seeds": 2, "methods": [], "better": []}')
    with pytest.raises(RunError, match=r"compare.json is damaged: FileNotFoundError: .*compare.csv"):
        read_comparison(tmp_path)
