"""How the number of threads is chosen while a clock is running."""

from utils.threads import ThreadTuner


def feed(tuner, times):
    """Give the tuner readings: `times(threads)` is the step's time with that many."""
    chosen = []
    for reading in range(len(times)):
        chosen.append(tuner.next(times[reading][tuner.current]))
    return chosen


def test_an_idle_machine_keeps_all_threads():
    assert set(feed(ThreadTuner(2), [{2: 5.0, 1: 8.0}] * 50)) == {2}


def test_a_busy_machine_changes_to_one_thread_and_comes_back():
    idle, busy = {2: 5.0, 1: 8.0}, {2: 60.0, 1: 9.0}
    tuner = ThreadTuner(2)
    chosen = feed(tuner, [idle] * 5 + [busy] * 100)
    assert chosen.count(1) > 85
    assert set(feed(tuner, [idle] * 60)[-20:]) == {2}


def test_one_thread_that_does_not_help_is_left_at_once():
    chosen = feed(ThreadTuner(2), [{2: 5.0, 1: 8.0}] * 3 + [{2: 10.0, 1: 20.0}] * 6)
    assert chosen.count(1) <= 3


def test_a_single_core_never_changes():
    tuner = ThreadTuner(1)
    times = [{1: float(time)} for time in (5, 50, 5, 90)] * 20
    assert set(feed(tuner, times)) == {1}
    # It does not count as a change either, which would start its patience anew.
    assert tuner.since_change == len(times)
