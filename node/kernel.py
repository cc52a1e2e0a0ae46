"""The kernel seam: where Child SAs go.

Rules: called after the durable write and before the answer leaves. Implementers: `NullKernel`; a
data plane comes with its own.
"""

from typing import Protocol

from proto.ike.effects import InstallChild, KernelOp, RemoveChild


class Kernel(Protocol):
    """Takes the ESP SAs of this gateway."""

    def apply(self, operation: KernelOp) -> None:
        """Install, update or remove one pair of ESP SAs."""
        ...


class NullKernel:
    """Carries no packets: it knows which pairs there are, and that is all."""

    def __init__(self) -> None:
        self.spis: dict[bytes, bytes] = {}
        """Inbound SPI → outbound SPI; empty where nothing may be sent."""

    def apply(self, operation: KernelOp) -> None:
        """Note it."""
        if isinstance(operation, InstallChild):
            may_send = not operation.inbound_only
            self.spis[operation.spi_in] = operation.spi_out if may_send else b""
        elif isinstance(operation, RemoveChild):
            self.spis.pop(operation.spi_in, None)
