import pytest

from rlsearch.common.files import replacing, write_bytes, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("shared", [False, True])
def test_a_file_is_replaced(tmp_path, shared):
    path = tmp_path / "a.txt"
    write_text(path, "old, µ", shared=shared)
    assert path.read_bytes() == "old, µ".encode()
    write_bytes(path, b"new", shared=shared)
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("shared", [False, True])
def test_until_the_end_others_read_what_was(tmp_path, shared):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail_halfway():
        with replacing(path, shared=shared) as partial:
            partial.write_text("half")
            assert path.read_text() == "old"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_what_a_killed_process_has_left_is_not_gone_on_with(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as partial:
        partial.write_text("")
        name = partial.name
    (tmp_path / name).write_text("left by a killed process")
    with replacing(path) as partial:
        assert not partial.exists()
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write_text(tmp_path / "no" / "a.txt", "")
