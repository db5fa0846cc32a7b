"""The libfranka client, imported where it is first needed, and calls of it that end in time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

from ..errors import ArmError, pip_install

T = TypeVar("T")


def client() -> ModuleType:
    """The module franky. Raises ArmError where it is not installed."""
    try:
        import franky
    except ImportError as error:
        raise ArmError(
            f"the libfranka client cannot be imported ({error}); install it with: {pip_install('arm')} "
            "(x86-64 Linux; elsewhere build franky-control against the libfranka of your robot)"
        ) from error
    return franky


def within(timeout_s: float, call: Callable[[], T], what: str) -> T:
    """What `call` returns. Raises ArmError where it fails or does not end in timeout_s; a client of an arm that is
    taken, or of an address that never answers, waits for ever."""
    values: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            values.append(call())
        except Exception as error:  # noqa: BLE001 - the client's own errors share no base class
            errors.append(error)

    thread = threading.Thread(target=run, name=what, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise ArmError(f"{what}: no answer within {timeout_s:g} s; is another program connected to it?")
    if errors:
        raise ArmError(f"{what}: {one_line(errors[0])}") from errors[0]
    return values[0]


def one_line(error: object) -> str:
    """A client's message without its line breaks and its name."""
    return " ".join(str(error).split()).removeprefix("libfranka: ") or type(error).__name__
