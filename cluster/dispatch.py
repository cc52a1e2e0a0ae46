"""Hands each frame that a link brings to whoever asked for its kind.

Rules: one receiver per kind; a frame that nobody asked for is dropped.
"""

from collections.abc import Callable
from typing import TypeVar

from cluster.link import Frame, PeerLink

F = TypeVar("F", bound=Frame)


class Dispatch:
    """The one handler of a link. The kinds: the classes of `cluster.link.Frame`."""

    def __init__(self, link: PeerLink) -> None:
        self._receivers: dict[type, Callable[[str, Frame], None]] = {}
        link.on_frame(self._receive)

    def on(self, kind: type[F], receiver: Callable[[str, F], None]) -> None:
        """`receiver(sender's proven name, frame)` gets every frame of `kind`."""

        def receive(sender: str, frame: Frame) -> None:
            if isinstance(frame, kind):
                receiver(sender, frame)

        self._receivers[kind] = receive

    def _receive(self, sender: str, frame: Frame) -> None:
        receiver = self._receivers.get(type(frame))
        if receiver is not None:
            receiver(sender, frame)
