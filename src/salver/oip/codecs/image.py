"""Image files to PIL images and back."""

from __future__ import annotations

import base64
import binascii
import io
import math
from typing import Any, Final

from salver.oip.codecs.foreign import is_instance, is_type, loaded

__all__ = ("is_image", "is_image_hint", "read_image", "write_image")

# Modes that PNG has not, and what they are in it; TIFF has numbers that PNG would cut off.
_CONVERTED: Final = {
    **dict.fromkeys(("CMYK", "YCbCr", "HSV", "LAB", "RGBX"), "RGB"),
    **dict.fromkeys(("RGBa", "PA"), "RGBA"),
    "La": "LA",
}
_WIDE: Final = ("I", "F")


def is_image(value: object) -> bool:
    """Whether a value is a PIL image."""
    return is_instance(value, "PIL", "Image")


def is_image_hint(hint: object) -> bool:
    """Whether an annotation is PIL's image class."""
    return is_type(hint, "PIL", "Image")


def write_image(image: Any) -> bytes:
    """The image as a lossless file: PNG, or TIFF for pixels of 32 bits."""
    file = io.BytesIO()
    if image.mode in _CONVERTED:
        image = image.convert(_CONVERTED[image.mode])
    image.save(file, format="TIFF" if image.mode in _WIDE else "PNG")
    return file.getvalue()


def read_image(element: bytes) -> Any:
    """The image in a file given as bytes, base64 text or data URL (no file looks like base64)."""
    images = loaded("PIL.Image", extra="pillow")
    if element[:5] == b"data:":
        element = element.partition(b",")[2]
    try:
        file = base64.b64decode(element, validate=True)
    except binascii.Error:
        file = element
    try:
        image = images.open(io.BytesIO(file))
        if image.width * image.height > (images.MAX_IMAGE_PIXELS or math.inf):
            raise ValueError(f"{image.width} x {image.height} pixels are too many")
        image.load()
    except images.UnidentifiedImageError:  # whose text is of our buffer
        raise ValueError(f"no image can be read from {len(file)} bytes (no known format)") from None
    except Exception as error:  # noqa: BLE001 - decoders raise what they like over broken files
        raise ValueError(f"no image can be read from {len(file)} bytes ({error})") from None
    return image
