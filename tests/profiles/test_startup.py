import pytest

from profiles import ProfileError, StartUp


def test_a_cold_start_is_the_sum_of_its_parts() -> None:
    """Weights take their bytes over the bandwidth; the other parts are given."""
    startup = StartUp(1.0, 2.5, 0.4, 7_000_000_000, 3.5e9, 0.5)
    assert startup.parts() == {
        "container": 1.0,
        "runtime": 2.5,
        "context": 0.4,
        "weights": 2.0,
        "warm_up": 0.5,
    }
    assert startup.seconds() == pytest.approx(6.4)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((-1.0, 2.5, 0.4, 0, 3.5e9, 0.5), "container_s"),
        ((1.0, 2.5, 0.4, 0, 0.0, 0.5), "bandwidth_bytes_per_s"),
        ((1.0, 2.5, 0.4, 0, 3.5e9, float("inf")), "warm_up_s"),
    ],
)
def test_impossible_parts_are_refused(values: tuple[float, ...], name: str) -> None:
    """Negative or endless parts are refused by name."""
    with pytest.raises(ProfileError, match=f"{name}: found"):
        StartUp(*values)  # type: ignore[arg-type]
