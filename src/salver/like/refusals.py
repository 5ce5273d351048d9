"""What is said of the parts of `ray` that serving programs have no need of."""

from __future__ import annotations

from typing import NoReturn

__all__ = ("refusal", "refuse_name")


def refusal(name: str) -> str:
    """The sentence for a module, or a name in one."""
    if name.startswith("ray.serve._private."):
        return f"{name} is of Ray's inside, which is another here. Use what `salver.serve` has."
    if name.startswith("ray.serve."):
        return f"{name}: Salver has no such module. `import salver.serve` shows what there is."
    return (
        f"{name} is not part of serving, and Salver stands in for serving only. Leave it out of "
        "this program, or run it with Ray."
    )


def refuse_name(module: str, name: str) -> NoReturn:
    """For a module's `__getattr__`: what the import system asks for itself is not refused."""
    if name.startswith("__"):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    raise ImportError(refusal(f"{module}.{name}"))
