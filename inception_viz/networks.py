"""Networks and parts of networks that are built to be measured: chains, Inception blocks, well-known networks, and any network made wider."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torchvision
from torch import Tensor, nn

from inception_viz.architecture import Architecture, traced

SEED = 0


@dataclass(frozen=True)
class Widths:
    """The six widths of an Inception block, and what it reads: `inputs` channels on a map of `side` x `side` (paper, Table 1)."""

    inputs: int
    side: int
    one: int
    reduce_three: int
    three: int
    reduce_five: int
    five: int
    pool: int

    @property
    def outputs(self) -> int:
        """Channels of the concatenated output."""
        return self.one + self.three + self.five + self.pool


GOOGLENET = {
    "3a": Widths(192, 28, 64, 96, 128, 16, 32, 32),
    "3b": Widths(256, 28, 128, 128, 192, 32, 96, 64),
    "4a": Widths(480, 14, 192, 96, 208, 16, 48, 64),
    "4b": Widths(512, 14, 160, 112, 224, 24, 64, 64),
    "4c": Widths(512, 14, 128, 128, 256, 24, 64, 64),
    "4d": Widths(512, 14, 112, 144, 288, 32, 64, 64),
    "4e": Widths(528, 14, 256, 160, 320, 32, 128, 128),
    "5a": Widths(832, 7, 256, 160, 320, 32, 128, 128),
    "5b": Widths(832, 7, 384, 192, 384, 48, 128, 128),
}


def scaled(widths: Widths, factor: float) -> Widths:
    """All widths, the input's too, times `factor` (at least one channel each)."""
    names = ("inputs", "one", "reduce_three", "three", "reduce_five", "five", "pool")
    return replace(widths, **{name: max(1, round(factor * getattr(widths, name))) for name in names})


class Branches(nn.Module):
    """Branches that read the same input side by side; their outputs are concatenated."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, inputs: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, channels of all branches, H, W)`."""
        return torch.cat([branch(inputs) for branch in self.branches], 1)


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.ReLU(inplace=True))


def block(widths: Widths, five: int = 5) -> nn.Module:
    """An Inception block with 1x1 reductions (paper, Figure 2b); `five=3` gives torchvision's, whose "5x5" is a 3x3."""
    w = widths
    return Branches(
        _convolution(w.inputs, w.one, 1),
        nn.Sequential(_convolution(w.inputs, w.reduce_three, 1), _convolution(w.reduce_three, w.three, 3)),
        nn.Sequential(_convolution(w.inputs, w.reduce_five, 1), _convolution(w.reduce_five, w.five, five)),
        nn.Sequential(nn.MaxPool2d(3, 1, 1), _convolution(w.inputs, w.pool, 1)),
    )


def naive_block(widths: Widths, five: int = 5) -> nn.Module:
    """The naive block (paper, Figure 2a): no reductions, and a pool branch that hands all its input channels on."""
    w = widths
    kernels = ((w.one, 1), (w.three, 3), (w.five, five))
    return Branches(*(_convolution(w.inputs, outputs, kernel) for outputs, kernel in kernels), nn.MaxPool2d(3, 1, 1))


def chain(width: int, depth: int, kernel: int = 3) -> nn.Module:
    """`depth` convolutions of `width` channels, one after the other."""
    return nn.Sequential(*(nn.Conv2d(width, width, kernel, padding=kernel // 2, bias=False) for _ in range(depth)))


def network_in_network(classes: int = 1000) -> nn.Sequential:
    """The ImageNet network of Lin, Chen & Yan, "Network in Network" (2013): convolutions each followed by two 1x1 ones, and global average pooling."""

    def stage(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, last: int | None = None) -> list[nn.Module]:
        convolutions = (
            nn.Conv2d(inputs, outputs, kernel, stride, padding),
            nn.Conv2d(outputs, outputs, 1),
            nn.Conv2d(outputs, last or outputs, 1),
        )
        return [layer for convolution in convolutions for layer in (convolution, nn.ReLU())]

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, stride=2, ceil_mode=True)

    return nn.Sequential(
        *stage(3, 96, 11, stride=4), pool(),
        *stage(96, 256, 5, padding=2), pool(),
        *stage(256, 384, 3, padding=1), pool(),
        nn.Dropout(0.5),
        *stage(384, 1024, 3, last=classes, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "GoogLeNet": (lambda: torchvision.models.GoogLeNet(aux_logits=False, init_weights=False), 224),
    "Inception v3": (lambda: torchvision.models.Inception3(aux_logits=False, init_weights=False), 299),
    "AlexNet": (torchvision.models.alexnet, 224),
    "VGG-16": (torchvision.models.vgg16, 224),
    "Network in Network": (network_in_network, 224),
}


def hollow(build: Callable[[], nn.Module]) -> nn.Module:
    """What `build` builds, without values: shapes and costs can be told, nothing can be computed."""
    with torch.device("meta"):
        return build().eval().requires_grad_(False)


def filled(network: nn.Module, device: torch.device) -> nn.Module:
    """A hollow network on a device with random values in it: nothing to predict with, but it takes the time that trained ones take."""
    real = copy.deepcopy(network).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(SEED)
    for name, tensor in real.state_dict().items():
        if tensor.ndim > 1:
            bound = (3 / tensor[0].numel()) ** 0.5
            tensor.uniform_(-bound, bound, generator=generator)
        else:
            tensor.fill_(1 if name.endswith(("running_var", "weight")) else 0)
    return real.to(memory_format=torch.channels_last)


def wider(network: nn.Module, described: Architecture, factor: float) -> nn.Module:
    """The same network, hollow, every width times `factor` (at least one channel), but for the picture's and the classes'; `described` is its architecture."""
    made = copy.deepcopy(network).to("meta")
    for name, layer in _wider_layers(made, described, factor):
        made.set_submodule(name, layer)
    return made.eval().requires_grad_(False)


def up_to(network: nn.Module, node: str) -> nn.Module:
    """The same network, hollow, as far as the operation `node` (a name in its module graph): that one's output is what it returns, what comes after is gone."""
    module, names = traced(copy.deepcopy(network).to("meta"))
    (last,) = (found for found in module.graph.nodes if names[found.name] == node)
    (output,) = module.graph.find_nodes(op="output")
    output.args = (last,)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module.eval().requires_grad_(False)


def _wider_layers(network: nn.Module, described: Architecture, factor: float) -> Iterator[tuple[str, nn.Module]]:
    channels: dict[str, int] = {}
    for node, facts in described.graph.nodes(data=True):
        read = [channels[source] for source in described.graph.predecessors(node)]
        channels[node] = sum(read) if facts["operation"] == "concatenate" else read[0] if read else facts["shape"][0]
        if facts["operation"] not in ("convolution", "batch norm", "linear"):
            continue
        layer = network.get_submodule(node)
        with torch.device("meta"):
            if isinstance(layer, nn.Conv2d):
                channels[node] = max(1, round(factor * layer.out_channels))
                options = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
                yield node, nn.Conv2d(read[0], channels[node], *options, bias=layer.bias is not None)  # type: ignore[arg-type]
            elif isinstance(layer, nn.Linear):
                channels[node] = layer.out_features
                yield node, nn.Linear(read[0], layer.out_features)
            else:
                yield node, nn.BatchNorm2d(read[0], eps=layer.eps)  # type: ignore[arg-type]
