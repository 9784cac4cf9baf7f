"""Progress where stdout is no terminal: a line now and then."""

import pytest

from tf_advseg import progress
from tf_advseg.progress import Progress, track


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until the test sets clock.now."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def test_first_line_comes_after_5_seconds_then_one_an_interval(clock, capsys):
    bar = Progress("step", 100, interval=30)
    shown = []
    for second in range(1, 70):
        clock.now = 1000.0 + second
        bar.update(second)
        if capsys.readouterr().out:
            shown.append(second)
    assert shown == [5, 35, 65]


def test_line_tells_count_time_left_and_values(clock, capsys):
    bar = Progress("step", 100, interval=1)
    bar.update(1)
    clock.now += 19
    # 19 of 100 in 19 seconds: the other 80 take 80.
    bar.update(20, {"loss": 0.123456, "rate": 3e-7})
    assert capsys.readouterr().out == "step 20/100  1:20 left  loss 0.1235  rate 3e-07\n"


def test_time_left_counts_only_what_this_process_did(clock, capsys):
    bar = Progress("step", 1000, done=900, interval=1)
    bar.update(900)
    bar.update(901)
    clock.now += 9
    # 9 steps in 9 seconds, not 909: the other 90 take 90 seconds.
    bar.update(910)
    assert "910/1000  1:30 left" in capsys.readouterr().out


def test_first_part_which_prepares_for_the_rest_is_no_measure_of_it(clock, capsys):
    bar = Progress("step", 10, interval=1)
    clock.now += 10
    bar.update(0)
    clock.now += 60
    bar.update(1, {"loss": 0.5})
    clock.now += 2
    bar.update(2)
    assert capsys.readouterr().out.splitlines() == [
        "step 0/10", "step 1/10  loss 0.5", "step 2/10  0:16 left"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00")],
)
def test_time_is_shown_as_a_clock(seconds, text):
    assert progress.clock(seconds) == text


def test_quick_work_is_silent_and_long_work_is_not(clock, capsys):
    for _ in track([1, 2, 3], "reading", 3):
        clock.now += 0.1
    assert capsys.readouterr().out == ""
    for _ in track([1, 2, 3], "reading", 3):
        clock.now += 10
    assert capsys.readouterr().out.startswith("reading 1/3")


def test_track_yields_every_item_in_order_and_passes_errors_on():
    assert list(track(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    assert list(track([], "letters", 0)) == []

    def broken():
        yield 1
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(track(broken(), "letters", 2))


def test_say_prints_a_line_at_once(capsys):
    bar = Progress("step", 10)
    bar.say("validation 0.5")
    bar.close()
    assert capsys.readouterr().out == "validation 0.5\n"


def test_terminal_shows_a_bar_that_starts_where_the_run_does(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    bar = Progress("step", 10, done=4)
    bar.update(6, {"loss": 0.5})
    bar.say("a note")
    bar.update(10)
    bar.close()
    shown = capsys.readouterr().out
    assert "4/10" in shown and "10/10" in shown
    assert "loss=0.5" in shown
    assert "a note\n" in shown


def test_warning_goes_to_stderr_with_a_bar_and_without(monkeypatch, capsys):
    plain = Progress("step", 10)
    plain.warn("no bar")
    plain.close()
    assert capsys.readouterr() == ("", "warning: no bar\n")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    bar = Progress("step", 10)
    bar.update(5)
    bar.warn("a bar")
    bar.close()
    shown = capsys.readouterr()
    assert shown.err == "warning: a bar\n"
    assert "a bar" not in shown.out
