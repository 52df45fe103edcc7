"""A run without the compiled library says so, and why."""

from pathlib import Path

from streamgauge.harness.native.library import load, slower


def test_a_run_without_the_compiled_library_says_so_in_one_line(tmp_path: Path) -> None:
    said = slower(None, "linux", tmp_path / "none.so")
    assert "slower reader is in use: there was no C compiler" in said
    assert "install a compiler" in said
    assert "\n" not in said
    assert slower(object(), "linux") == ""
    assert slower(None, "darwin") == "", "there, no compiler helps"


def test_a_library_that_is_there_and_cannot_be_loaded_is_not_for_want_of_a_compiler(tmp_path: Path) -> None:
    library = tmp_path / "library.so"
    library.write_bytes(b"of another machine")
    assert load(library) is None
    said = slower(None, "linux", library)
    assert f"the compiled library cannot be loaded here ({library}: " in said
    assert "compiler (cc)" not in said
    assert "\n" not in said
