"""An uploaded image comes back as a thumbnail: `salver run image_upload:app` (needs Pillow).

curl -F image=@photo.jpg http://127.0.0.1:8000/ -o thumbnail.png
"""

from __future__ import annotations

import asyncio
import io

from PIL import Image, UnidentifiedImageError
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

import salver


def shrink(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((128, 128))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
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
        except UnidentifiedImageError:
            return JSONResponse({"error": f"{upload.filename} is no picture"}, 415)
        return Response(small, media_type="image/png")


app = Thumbnail.bind()
