from inspection.backoff import FLOOR_S, Backoff


def test_the_pause_before_the_next_try_doubles_to_its_limit_and_begins_anew_after_ten_good_seconds() -> None:
    backoff = Backoff(3.0)
    assert [backoff.after(0) for _ in range(5)] == [0.5, 1, 2, 3, 3]
    assert backoff.after(9.9) == 3
    assert [backoff.after(10.1), backoff.after(0)] == [0.5, 1]


def test_a_spread_pause_is_shorter_by_chance_and_never_below_the_first() -> None:
    pauses = []
    for _ in range(200):
        backoff = Backoff(16.0, spread=0.5)
        pauses.append([backoff.after(0) for _ in range(6)][-1])

    assert all(8.0 <= pause <= 16.0 for pause in pauses)
    assert len(set(pauses)) > 1
    assert Backoff(16.0, spread=0.5).after(0) == FLOOR_S
