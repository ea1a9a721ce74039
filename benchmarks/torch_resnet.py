"""Define models/tsn.py in torch, to compare with; nothing else needs torch."""

import torch
from torch import nn

# num_layers -> (bottleneck blocks?, blocks in each of the four stages), as in models/resnet.py
DEPTHS = {18: (False, (2, 2, 2, 2)), 50: (True, (3, 4, 6, 3))}


def conv_norm(channels: int, out: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out))


class Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        out = width * (4 if bottleneck else 1)
        shapes = [(1, 1), (3, stride), (1, 1)] if bottleneck else [(3, stride), (3, 1)]
        layers: list[nn.Module] = []
        for i, (kernel, step) in enumerate(shapes):
            last = i == len(shapes) - 1
            layers += [conv_norm(width if i else channels, out if last else width, kernel, step), nn.ReLU()]
        self.body = nn.Sequential(*layers[:-1])
        self.shortcut = nn.Identity() if stride == 1 and channels == out else conv_norm(channels, out, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class TSN(nn.Module):
    """uint8 [N, T, H, W, 3] -> logits float32 [N, K]."""

    def __init__(self, num_classes: int, num_layers: int):
        super().__init__()
        bottleneck, stages = DEPTHS[num_layers]
        layers: list[nn.Module] = [conv_norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        channels = 64
        for stage, number in enumerate(stages):
            for position in range(number):
                width = 64 * 2**stage
                layers.append(Block(channels, width, 2 if stage and not position else 1, bottleneck))
                channels = width * (4 if bottleneck else 1)
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        videos, segments = frames.shape[:2]
        x = frames.flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1
        return self.fc(self.body(x.contiguous()).reshape(videos, segments, -1).mean(1))
