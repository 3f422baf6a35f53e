"""Files in the IDX format, in which MNIST and Fashion-MNIST are handed out."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

UNSIGNED_BYTES = 0x08
"""The third byte of a file whose values are bytes; the fourth is the number of dimensions."""


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of a compressed file, with values from 0 to 255.

    Args:
        path: File, `.gz`.
        dimensions: Number of dimensions that the array must have.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, of another format, or holds another number of values than it says.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except FileNotFoundError:
        raise
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    magic, start = bytes((0, 0, UNSIGNED_BYTES, dimensions)), 4 + 4 * dimensions
    if content[:4] != magic or len(content) < start:
        raise ValueError(f"{path} must begin with {magic.hex()}, bytes in {dimensions} dimensions; got "
                         f"{content[:4].hex() or 'nothing'} and {len(content)} bytes in all")  # fmt: skip
    shape = [int(size) for size in np.frombuffer(content, ">u4", dimensions, 4)]
    if len(content) - start != math.prod(shape):
        raise ValueError(f"{path} must hold {math.prod(shape)} values, as its shape {tuple(shape)} says; got "
                         f"{len(content) - start}")  # fmt: skip
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
