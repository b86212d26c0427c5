"""Keras: symbolic tensors are refused. Variables consist of the backend's, and models travel as Keras pickles them."""

from __future__ import annotations

from typing import Any, NoReturn

import keras

from oobcodec.errors import EncodeError
from oobcodec.registry import DEFAULT


def reduce_symbolic(tensor: Any) -> NoReturn:
    """Refuse the symbol of an input or output, which would lose its place in the model."""
    message = f"{tensor} is symbolic, and has no value: send the keras.Model that it belongs to"
    raise EncodeError(message)


def register() -> None:
    """Tell the registry."""
    DEFAULT.provide(keras.KerasTensor, reduce_symbolic)
