"""A run without the compiled library says so."""

from streamgauge.harness.native.library import slower


def test_a_run_without_the_compiled_library_says_so_in_one_line() -> None:
    said = slower(None, "linux")
    assert "slower reader is in use" in said
    assert "install" in said
    assert "\n" not in said
    assert slower(object(), "linux") == ""
    assert slower(None, "darwin") == "", "there, no compiler helps"
