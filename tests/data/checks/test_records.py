"""data/checks/records.py: records by their offset, files that were cut off, files with other settings."""

import pytest

from conftest import says
from data.checks.records import Records
from utils.errors import InputError

SETTINGS = {"reading": {"short_side": 256, "augment_seed": None}}


def test_records_are_kept_and_found_by_their_offset(tmp_path):
    with Records(tmp_path / "j", SETTINGS) as journal:
        assert list(journal.records()) == []
        first = journal.add({"video": "a\udce4.mp4"})
        second = journal.add({"video": "b"})
        assert journal.at(first) == {"video": "a\udce4.mp4"}
        third = journal.add({"video": "c"})  # at the end, although something else was read
        assert journal.at(second) == {"video": "b"} and journal.at(third) == {"video": "c"}
    with Records(tmp_path / "j", SETTINGS) as journal:
        found = list(journal.records())
        assert [offset for offset, _ in found] == [first, second, third]
        assert all(journal.at(offset) == record for offset, record in found)


@pytest.mark.parametrize("tail", [b'{"video": "c', b'{"video": "c"}', b"\0" * 100_000])
def test_a_line_that_was_cut_off_is_dropped(tail, tmp_path):
    with Records(tmp_path / "j", SETTINGS) as journal:
        journal.add({"video": "a"})
    whole = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(whole + tail)
    with Records(tmp_path / "j", SETTINGS) as journal:
        assert [record for _, record in journal.records()] == [{"video": "a"}]
    assert (tmp_path / "j").read_bytes() == whole


def test_a_first_line_that_was_cut_off_is_completed(tmp_path):
    (tmp_path / "j").write_bytes(b'{"settings": {"rea')
    with Records(tmp_path / "j", SETTINGS) as journal:
        journal.add({"video": "a"})
    with Records(tmp_path / "j", SETTINGS) as journal:
        assert [record for _, record in journal.records()] == [{"video": "a"}]


def test_a_broken_line_costs_no_other(tmp_path):
    with Records(tmp_path / "j", SETTINGS) as journal:
        journal.add({"video": "a"})
    with open(tmp_path / "j", "ab") as file:
        file.write(b"\xff\0{\n[1]\n")
    with Records(tmp_path / "j", SETTINGS) as journal:
        journal.add({"video": "b"})
        assert [record["video"] for _, record in journal.records()] == ["a", "b"]


@pytest.mark.parametrize("content", [b"no journal", b'{"settings": {"reading": {"short_side": 128}}}\n'])
def test_a_journal_with_other_settings_is_left_alone(content, tmp_path):
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(InputError) as error:
        Records(tmp_path / "j", SETTINGS)
    says(error.value, f"{tmp_path}/j: ", "other settings", "remove it", "--out")
    assert (tmp_path / "j").read_bytes() == content
