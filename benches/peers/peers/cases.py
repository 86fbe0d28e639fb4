"""What is raced: networks, batches, threads, and the ratios that are promised."""

from __future__ import annotations

from dataclasses import dataclass

IMAGENET = ("resnet18", "resnet34", "resnet50", "resnet152")
CIFAR = ("cifar-resnet20", "cifar-resnet110")
NETWORKS = IMAGENET + CIFAR


@dataclass(frozen=True)
class Case:
    """One network at one batch and one number of threads; `promised` and `aim` are ratios best peer / ours."""

    net: str
    batch: int
    threads: int
    promised: float | None = None
    aim: float | None = None

    @property
    def title(self) -> str:
        return f"{self.net}, batch {self.batch}, {self.threads} thread{'s' if self.threads > 1 else ''}"


TABLE = (
    Case("resnet50", 1, 2, 1.25, 1.45),
    Case("resnet50", 1, 1, 1.20, 1.35),
    Case("resnet50", 8, 2, 1.20, 1.35),
    Case("resnet18", 1, 2, 1.50, 1.80),
    Case("resnet18", 8, 2, 1.25, 1.45),
    Case("resnet34", 1, 1, 1.25, 1.45),
    Case("resnet152", 1, 2, 1.25, 1.45),
    Case("cifar-resnet20", 1, 2, 1.60, 2.20),
    Case("cifar-resnet20", 128, 2, 1.60, 2.20),
    Case("cifar-resnet110", 1, 2, 1.50, 2.00),
    Case("cifar-resnet110", 128, 2, 1.50, 2.00),
)


def image_shape(net: str) -> tuple[int, int, int]:
    """Channels, height, width of one input image."""
    return (3, 32, 32) if net in CIFAR else (3, 224, 224)


def default_batches(net: str) -> tuple[int, ...]:
    return (1, 128) if net in CIFAR else (1, 8)


def case(net: str, batch: int, threads: int) -> Case:
    """The promised case of these numbers, or one without a promise."""
    for row in TABLE:
        if (row.net, row.batch, row.threads) == (net, batch, threads):
            return row
    return Case(net, batch, threads)
