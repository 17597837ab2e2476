"""What is computed once."""

from dataclasses import dataclass
from threading import Thread

from ganlib._once import once, sharing


@dataclass
class Doubled:
    """A callable without a hash, equal to others."""

    factor: int

    def __call__(self, values: list[int]) -> list[int]:
        """Multiply."""
        return [self.factor * value for value in values]

    def method(self, values: list[int]) -> list[int]:
        """The same."""
        return self(values)


def _counted(calls: list[object], function: object, argument: object) -> object:
    return once(function, argument, lambda: calls.append(argument) or len(calls))


def test_outside_everything_is_computed() -> None:
    """Before and after it each call computes."""
    calls: list[object] = []
    argument = [1]
    for expected in (1, 2):
        assert _counted(calls, len, argument) == expected
    with sharing():
        assert [_counted(calls, len, argument) for _ in range(2)] == [3, 3]
    assert _counted(calls, len, argument) == 4


def test_results_are_of_one_object_and_one_function() -> None:
    """Equal objects, other functions and other methods have results of their own; a method taken again has not."""
    calls: list[object] = []
    one, other = Doubled(2), Doubled(2)
    with sharing():
        batch, equal = [1], [1]
        keys = [(len, batch), (len, equal), (sum, batch), (one, batch), (other, batch)]
        keys += [(one.method, batch), (other.method, batch)]
        for _ in range(2):
            assert [_counted(calls, *key) for key in keys] == [1, 2, 3, 4, 5, 6, 7]
        assert _counted(calls, one.method, batch) == 6


def test_an_object_that_is_gone_is_no_other() -> None:
    """A new object never gets the result of one whose memory it has."""
    with sharing():
        for number in range(100):
            assert once(len, [number], lambda number=number: number) == number


def test_one_inside_the_other() -> None:
    """The inner one starts empty, and the outer one has its results again afterwards; other threads have none."""
    calls: list[object] = []
    argument = [1]
    with sharing():
        assert _counted(calls, len, argument) == 1
        with sharing():
            assert [_counted(calls, len, argument) for _ in range(2)] == [2, 2]
        assert _counted(calls, len, argument) == 1
        thread = Thread(target=_counted, args=(calls, len, argument))
        thread.start()
        thread.join()
        assert len(calls) == 3
