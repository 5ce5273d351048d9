"""An uploaded image comes back as a thumbnail: `salver run image_upload:app` (needs Pillow).

curl -F image=@photo.jpg http://127.0.0.1:8000/ -o thumbnail.png
"""

from __future__ import annotations

import asyncio
import io

from PIL import Image
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

import salver


def shrink(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((128, 128))
        buffer = io.BytesIO()
        small = image.convert("RGB") if image.mode == "CMYK" else image  # print, which PNG has not
        small.save(buffer, "PNG")
    return buffer.getvalue()


@salver.deployment(max_ongoing_requests=2)
class Thumbnail:
    async def __call__(self, request):
        form = await request.form()
        upload = form.get("image")
        if not isinstance(upload, UploadFile):
            return JSONResponse({"error": "send a form with a file named image"}, 400)
        try:
            small = await asyncio.to_thread(shrink, await upload.read())
        except (OSError, Image.DecompressionBombError):  # it is none, or half of one, or too large
            return JSONResponse({"error": f"{upload.filename} is no picture to be read"}, 415)
        return Response(small, media_type="image/png")


app = Thumbnail.bind()
