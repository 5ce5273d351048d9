"""`@multiplexed`: one object serves many models, and keeps those that are asked for."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Final, overload

from salver.replica.models import Catalogue, Models, current_catalogue

__all__ = ("Multiplexed", "loaders_of", "multiplexed")

Loader = Callable[..., Awaitable[Any]]
_DEFAULT: Final = 3


class Multiplexed:
    """A loader of models. `await loader(model_id)` gives the model, loaded once.

    On a class each object has models of its own, and each loader of a class, too.
    """

    def __init__(self, load: Loader, limit: int, *, evict_first: bool = False) -> None:
        functools.update_wrapper(self, load)
        self._load = load
        self._limit = limit
        self._evict_first = evict_first
        self._key = f"__salver_models_{getattr(load, '__name__', '')}"
        # Of a loader that is a function: one process may be several replicas.
        self._own: Models | None = None
        self._by_replica: weakref.WeakKeyDictionary[Catalogue, Models] = weakref.WeakKeyDictionary()

    def __set_name__(self, _owner: type, name: str) -> None:
        self._key = f"__salver_models_{name}"

    def __get__(self, instance: Any, _owner: type | None = None) -> Any:
        return self if instance is None else _Bound(self, instance)

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model of this id."""
        return await self._own_models().get(self._model_id(args, kwargs), self._load)

    def of(self, instance: Any) -> Models:
        """The models of this object."""
        try:
            space = vars(instance)
        except TypeError:
            raise TypeError(
                f"{type(instance).__name__} has __slots__ and no place for the models of "
                f"@multiplexed {self._load.__name__}. Add '__dict__' to its __slots__."
            ) from None
        models: Models | None = space.get(self._key)
        if models is None:
            models = space[self._key] = self._new()
        return models

    def _own_models(self) -> Models:
        catalogue = current_catalogue.get()
        if catalogue is not None:
            models = self._by_replica.get(catalogue)
            if models is None:
                models = self._by_replica[catalogue] = self._new()
            return models
        if self._own is None:
            self._own = self._new()
        return self._own

    def _new(self) -> Models:
        models = Models(self._limit, evict_first=self._evict_first)
        catalogue = current_catalogue.get()
        if catalogue is not None:
            catalogue.add(models)
        return models

    def _model_id(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        if len(args) != 1 or kwargs:
            raise TypeError(
                f"{self._load.__name__} is @multiplexed and takes one argument by position, the "
                f"model id; got {args!r} {kwargs!r}."
            )
        model_id = args[0]
        if not isinstance(model_id, str):
            raise TypeError(f"A model id is a str, not {model_id!r}.")
        if not model_id:
            raise ValueError(
                "The model id is empty: the request named no model. Send the header "
                "`serve_multiplexed_model_id`, or call with "
                "`handle.options(multiplexed_model_id=...)`."
            )
        return model_id

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._load, self._limit, self._evict_first)


class _Bound:
    """The loader of one object. Callable, and no function: so nothing refers to the object."""

    __slots__ = ("__self__", "_loader")

    def __init__(self, loader: Multiplexed, instance: Any) -> None:
        self._loader = loader
        self.__self__ = instance

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model of this id."""
        loader = self._loader
        model_id = loader._model_id(args, kwargs)
        instance = self.__self__
        return await loader.of(instance).get(model_id, functools.partial(loader._load, instance))

    @property
    def __name__(self) -> str:
        return str(self._loader._load.__name__)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self._loader._load.__doc__

    def __repr__(self) -> str:
        return f"<multiplexed {self.__name__} of {self.__self__!r}>"


def _restore(load: Loader, limit: int, evict_first: bool) -> Multiplexed:
    return Multiplexed(load, limit, evict_first=evict_first)


def loaders_of(instance: Any) -> list[Multiplexed]:
    """The loaders that the object's class has."""
    found: dict[str, Any] = {}
    for kind in reversed(type(instance).__mro__):
        found.update(vars(kind))
    return [value for value in found.values() if isinstance(value, Multiplexed)]


@overload
def multiplexed(func: Loader, /) -> Multiplexed: ...


@overload
def multiplexed(
    func: None = None, *, max_num_models_per_replica: int = ..., evict_first: bool = ...
) -> Callable[[Loader], Multiplexed]: ...


def multiplexed(
    func: Loader | None = None,
    max_num_models_per_replica: int = _DEFAULT,
    *,
    evict_first: bool = False,
) -> Multiplexed | Callable[[Loader], Multiplexed]:
    """Make a loader of models of an `async def` that takes a model id.

    Args:
        max_num_models_per_replica: how many models are kept; -1: all.
        evict_first: True where there is no memory for one model more than are kept: a model leaves
            before another is loaded. Otherwise it leaves after, and a failed load costs nothing.
    """
    _check_limit(max_num_models_per_replica)

    def decorate(load: Loader) -> Multiplexed:
        if not callable(load):
            raise TypeError(
                f"@multiplexed takes an async function, got {load!r}. "
                "Options are given by name: @multiplexed(max_num_models_per_replica=3)."
            )
        if not inspect.iscoroutinefunction(load):
            raise TypeError(
                f"@multiplexed takes an async function; {getattr(load, '__name__', load)} is not. "
                "Make it `async def`, and load in it with `await asyncio.to_thread(...)`."
            )
        return Multiplexed(load, max_num_models_per_replica, evict_first=evict_first)

    return decorate if func is None else decorate(func)


def _check_limit(limit: object) -> None:
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"max_num_models_per_replica={limit!r} is not valid: expected an int.")
    if limit != -1 and limit < 1:
        raise ValueError(
            f"max_num_models_per_replica={limit!r} is not valid: expected at least 1, or -1 for "
            "no bound."
        )
