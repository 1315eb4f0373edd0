"""One description of a method, and what it is in each client: blocking in one, a coroutine in the other.

A description is a function from arguments to a `Call`, or to a `Cursor`. As an attribute of a `Group` it takes the same
arguments, and the group's driver makes the call; type checkers see both signatures whole.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

from gateway.client.asynchronous import Asynchronous
from gateway.client.blocking import Blocking
from gateway.client.call import Call, Cursor, Turning

_P = ParamSpec("_P")
_T = TypeVar("_T")
DriverT = TypeVar("DriverT", Blocking, Asynchronous)


class Group(Generic[DriverT]):
    """Methods that belong together, over one driver."""

    def __init__(self, driver: DriverT) -> None:
        self._driver: DriverT = driver

    @property
    def driver(self) -> DriverT:
        """What makes the calls."""
        return self._driver


class _Described(Generic[_P, _T]):
    """A description, with its name and its words."""

    def __init__(self, describe: Callable[_P, _T]) -> None:
        self.describe = describe
        self.__name__ = describe.__name__
        self.__doc__ = describe.__doc__

    def made_by(self, make: Callable[[_T], Any]) -> Callable[_P, Any]:
        """Return what takes the arguments of the description, and makes the call."""

        @wraps(self.describe)
        def made(*args: _P.args, **kwargs: _P.kwargs) -> Any:
            return make(self.describe(*args, **kwargs))

        return made


class Method(_Described[_P, Call[_T]]):
    """A method that answers once."""

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Group[Blocking], owner: type) -> Callable[_P, _T]: ...
    @overload
    def __get__(self, group: Group[Asynchronous], owner: type) -> Callable[_P, Coroutine[Any, Any, _T]]: ...
    def __get__(self, group: Group[Any] | None, owner: type) -> Any:
        """Return the method of a group."""
        return self if group is None else self.made_by(group.driver.call)


class Stream(_Described[_P, Cursor[_T]]):
    """A method that answers with a stream."""

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Group[Blocking], owner: type) -> Callable[_P, Generator[_T, None, None]]: ...
    @overload
    def __get__(self, group: Group[Asynchronous], owner: type) -> Callable[_P, AsyncGenerator[_T, None]]: ...
    def __get__(self, group: Group[Any] | None, owner: type) -> Any:
        """Return the method of a group."""
        return self if group is None else self.made_by(group.driver.stream)


class Pages(_Described[_P, Turning[_T]]):
    """A method that answers with a list, of which each page is a call."""

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Group[Blocking], owner: type) -> Callable[_P, Generator[_T, None, None]]: ...
    @overload
    def __get__(self, group: Group[Asynchronous], owner: type) -> Callable[_P, AsyncGenerator[_T, None]]: ...
    def __get__(self, group: Group[Any] | None, owner: type) -> Any:
        """Return the method of a group."""
        return self if group is None else self.made_by(group.driver.pages)
