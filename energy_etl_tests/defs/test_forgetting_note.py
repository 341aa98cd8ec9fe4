"""What is noted of a forgetting, and what a killed one leaves beside the note."""

from pathlib import Path

from energy_etl.defs.forgetting import files_naming
from energy_etl.defs.forgetting_note import NOTE, note_begun, note_done, noted, unfinished
from energy_etl.rest.removal import Names
from energy_etl.vendors import project_settings

NAMES = Names([frozenset({"rome-b.mains"})])
PARTS = {"names": [["rome-b.mains"]]}


def test_write_of_the_note_that_was_killed_is_no_file_that_still_names_it(tmp_path: Path) -> None:
    """The command told people to delete a file that it had deleted itself, and ended with 1."""
    settings = project_settings(tmp_path)
    settings.data_dir.mkdir()
    killed = settings.data_dir / f".{NOTE}.x7k2.part"
    killed.write_text('{"rome-b.mains": {"names": [["rome-b.m', encoding="utf-8")
    assert list(files_naming(settings, Names([frozenset({"rome-b.m"})]))) == [killed]
    note_begun(settings, "rome-b.mains", PARTS)
    assert not killed.exists()
    assert list(files_naming(settings, NAMES)) == []


def test_forgetting_of_two_is_noted_until_each_is_done(tmp_path: Path) -> None:
    settings = project_settings(tmp_path)
    settings.data_dir.mkdir()
    for thing_id in ("rome-b.mains", "user-4711"):
        note_begun(settings, thing_id, PARTS)
    note_done(settings, "rome-b.mains")
    assert unfinished(settings) == ("user-4711",)
    assert noted(settings, "rome-b.mains") == {}
    assert noted(settings, "user-4711") == PARTS
    note_done(settings, "user-4711")
    assert list(settings.data_dir.iterdir()) == []
