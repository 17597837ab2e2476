"""Every public class and function, with the arguments and the object of the example in its docstring."""

import doctest
import inspect
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import ganlib

__all__ = ["CALLABLES", "CLASSES", "Called", "called_in_its_example"]


class Called(NamedTuple):
    """A call: what was called, with what, and the object that it made, where it is a class."""

    target: Any
    arguments: dict[str, Any]
    made: Any

    def again(self, **changes: Any) -> Any:
        """Call it once more, with other arguments."""
        given, positional, named = self.arguments | changes, list[Any](), dict[str, Any]()
        for name, parameter in inspect.signature(self.target).parameters.items():
            if name in given:
                if parameter.kind is parameter.VAR_POSITIONAL:
                    positional += given[name]
                elif parameter.kind is parameter.VAR_KEYWORD:
                    named |= given[name]
                elif parameter.kind is parameter.KEYWORD_ONLY:
                    named[name] = given[name]
                else:
                    positional.append(given[name])
        return self.target(*positional, **named)


def _offered() -> Iterator[tuple[str, Any]]:
    for package in sorted({*ganlib.__all__} - {"errors", "protocols", "distributed"}):
        module = getattr(ganlib, package)
        for name in module.__all__:
            value = getattr(module, name)
            contract = getattr(value, "_is_protocol", False) or name in ganlib.protocols.__all__
            named_tuple = inspect.isclass(value) and issubclass(value, tuple)
            if not (contract or named_tuple) and (inspect.isclass(value) or inspect.isroutine(value)):
                yield f"{package}.{name}", value


CALLABLES = dict(_offered())
CLASSES = {name: value for name, value in CALLABLES.items() if inspect.isclass(value) and not issubclass(value, tuple)}


def called_in_its_example(target: Any) -> Called:
    """The first call of it in the example of its docstring, which is run, lines that are skipped included."""
    function = inspect.unwrap(target.__init__ if inspect.isclass(target) else target)
    found: list[Called] = []

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is function.__code__ and not found:
            given, made = dict(frame.f_locals), None
            if inspect.isclass(target):
                made = given.pop(next(iter(inspect.signature(function).parameters)))
            if made is None or type(made) is target:
                found.append(Called(target, {name: given[name] for name in parameters}, made))

    parameters = list(inspect.signature(target).parameters)
    (test,) = doctest.DocTestFinder(recurse=False).find(
        target, target.__name__, globs=dict(vars(sys.modules[target.__module__]))
    )
    for example in test.examples:
        example.options.pop(doctest.SKIP, None)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    sys.setprofile(note)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runner.run(test, out=lambda text: None, clear_globs=False)
    finally:
        sys.setprofile(None)
    assert found, f"the example of {target.__name__} does not call it"
    return found[0]
