"""The architectures of `python -m benchmarks architectures`: random weights, small pictures, nothing downloaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

Made = tuple[nn.Module, tuple[torch.Tensor, ...]]

_TORCHVISION: dict[str, dict[str, Any]] = {
    "alexnet": {}, "vgg11_bn": {}, "resnet18": {}, "resnet50": {}, "resnext50_32x4d": {}, "mobilenet_v2": {},
    "mobilenet_v3_small": {}, "efficientnet_b0": {}, "convnext_tiny": {}, "vit_b_32": {"image_size": 64}, "swin_t": {},
    "densenet121": {}, "squeezenet1_1": {}, "shufflenet_v2_x0_5": {}, "mnasnet0_5": {}, "regnet_y_400mf": {},
    "googlenet": {"init_weights": False}, "segmentation.lraspp_mobilenet_v3_large": {"weights_backbone": None},
    "segmentation.fcn_resnet50": {"weights_backbone": None},
}  # fmt: skip
_TIMM: dict[str, dict[str, Any]] = {
    "resnet18": {}, "resnetv2_50x1_bit": {}, "tf_efficientnet_b0": {}, "efficientnet_b0": {},
    "mobilenetv3_small_050": {}, "tf_mobilenetv3_small_minimal_100": {}, "convnext_atto": {},
    "vit_tiny_patch16_224": {"img_size": 64}, "densenet121": {}, "ghostnet_050": {}, "mixer_s32_224": {"img_size": 64},
    "mixnet_s": {}, "repvgg_a0": {}, "regnetx_002": {}, "poolformer_s12": {}, "nf_resnet26": {}, "dla34": {},
    "edgenext_xx_small": {}, "swin_tiny_patch4_window7_224": {"img_size": 56},
}  # fmt: skip


def _torchvision(name: str, **kwargs: Any) -> Made:
    from torchvision import models

    torch.manual_seed(0)
    family, _, inner = name.rpartition(".")
    make = getattr(getattr(models, family) if family else models, inner)
    side = 96 if name == "googlenet" else 64
    return make(weights=None, **kwargs), (torch.randn(2, 3, side, side),)


def _timm(name: str, **kwargs: Any) -> Made:
    import timm

    torch.manual_seed(0)
    side = kwargs.get("img_size", 64)
    return timm.create_model(name, pretrained=False, num_classes=10, **kwargs), (torch.randn(2, 3, side, side),)


def _transformer() -> Made:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), (torch.randn(3, 5, 32),)


NETWORKS: dict[str, Callable[[], Made]] = {
    **{f"torchvision:{name}": partial(_torchvision, name, **kwargs) for name, kwargs in _TORCHVISION.items()},
    **{f"timm:{name}": partial(_timm, name, **kwargs) for name, kwargs in _TIMM.items()},
    "torch:TransformerEncoder": _transformer,
}
"""Functions that make a network and an input for it, by name."""
