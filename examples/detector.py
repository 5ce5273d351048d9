"""Objects in an uploaded picture: `salver run detector:build` (needs transformers and Pillow).

curl -F image=@street.jpg 'http://127.0.0.1:8000/detect?threshold=0.5'

The network is DETR in miniature, with weights that have learnt nothing: it answers at once and
without a download. For a real one: `salver run detector:build model=facebook/detr-resnet-50`, or
the path of a folder that holds such a checkpoint.
"""

from __future__ import annotations

import asyncio
import io

import numpy as np
from fastapi import FastAPI, HTTPException, UploadFile
from PIL import Image, UnidentifiedImageError

import salver

api = FastAPI(title="Detector")
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the pictures DETR was trained on


def miniature():
    """The architecture with few and small layers, made here."""
    import torch
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    torch.manual_seed(0)
    backbone = ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32, 64, 64], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage4"],
    )  # fmt: skip
    config = DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None,
        backbone_config=backbone, d_model=64, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128,
        decoder_ffn_dim=128, num_queries=20, id2label={0: "cat", 1: "dog", 2: "car"},
        label2id={"cat": 0, "dog": 1, "car": 2},
    )  # fmt: skip
    return DetrForObjectDetection(config)


@salver.deployment(ray_actor_options={"num_cpus": 1})
@salver.ingress(api)
class Detector:
    def __init__(self, model: str | None) -> None:
        from transformers import AutoModelForObjectDetection

        loaded = AutoModelForObjectDetection.from_pretrained(model) if model else miniature()
        self.model = loaded.eval()

    @api.post("/detect")
    async def detect(self, image: UploadFile, threshold: float = 0.5) -> list[dict]:
        try:
            picture = Image.open(io.BytesIO(await image.read())).convert("RGB")
        except UnidentifiedImageError:
            raise HTTPException(415, f"{image.filename} is no picture") from None
        found = await asyncio.to_thread(self.find, picture)
        return [each for each in found if each["score"] >= threshold]

    def find(self, picture: Image.Image) -> list[dict]:
        """Everything that might be something, the most certain first."""
        import torch

        picture.thumbnail((800, 800))
        pixels = (np.asarray(picture, np.float32) / 255 - MEAN) / SPREAD
        with torch.inference_mode():
            found = self.model(pixel_values=torch.tensor(pixels).permute(2, 0, 1)[None].float())
        scores, labels = found.logits[0].softmax(-1)[:, :-1].max(-1)  # the last means: nothing
        names = self.model.config.id2label
        objects = [
            {"label": names[label], "score": score, "box": corners(box)}
            for label, score, box in zip(
                labels.tolist(), scores.tolist(), found.pred_boxes[0].tolist(), strict=True
            )
        ]
        return sorted(objects, key=lambda each: -each["score"])


def corners(box: list[float]) -> dict[str, float]:
    """From centre and size to corners, as parts of the picture's width and height."""
    x, y, width, height = box
    return {
        "left": x - width / 2, "top": y - height / 2,
        "right": x + width / 2, "bottom": y + height / 2,
    }  # fmt: skip


def build(args: dict[str, str]) -> salver.Application:
    return Detector.bind(args.get("model"))
