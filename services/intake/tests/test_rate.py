"""The limit on what one channel sends."""

from chikaya_intake.domain.rate import Limiter


def test_a_minutes_worth_passes_at_once_and_then_one_at_a_time() -> None:
    now = 0.0
    limiter = Limiter(60, lambda: now)
    assert [limiter.wait_s("portal") for _ in range(60)] == [0.0] * 60
    assert limiter.wait_s("portal") == 1.0
    assert limiter.wait_s("kiosk") == 0.0
    now = 1.0
    assert limiter.wait_s("portal") == 0.0
    assert limiter.wait_s("portal") == 1.0
    now = 1000.0
    assert [limiter.wait_s("portal") for _ in range(61)] == [0.0] * 60 + [1.0]
