"""What the process tells people and machines about itself: log lines, recorded events, metrics.

Rules: a log line holds plain values only, and whatever could be key material is refused (replaced
by its type), not printed; tracebacks never show local variables. An event is one write to a file
opened for appending, so that a SIGKILL cuts between lines. Metrics are in `node.metrics`.
"""

import enum
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import msgspec
import structlog

from cluster.seams import Clock
from proto.secret import Secret

LOG_DEPTH_MAX = 4
"""How deep a value of a log line may be nested."""
STRANGERS_LINES_MAX = 10
"""Log lines a second about what anybody can cause with a datagram, and as many about sessions."""
EVENT_LINE_OCTETS_MAX = 4096
"""The longest recorded event: appending less than a page is one step for the kernel."""

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logging(level: str, form: str, stream: TextIO | None = None) -> None:
    """Set up structlog for the process: `level` of LEVELS, `form` json or console, to `stream`
    (default stderr).
    """
    out = stream if stream is not None else sys.stderr
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        if form == "console"
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            refuse_secrets,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    quiet = max(LEVELS[level], logging.WARNING)
    logging.basicConfig(handlers=[_Forward()], level=quiet, force=True)


class _Forward(logging.Handler):
    """Gives what libraries log (asyncio, grpc) the same shape as our own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger()
        logger.log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
        )


def refuse_secrets(
    _logger: object, _method: str, line: MutableMapping[str, object]
) -> Mapping[str, object]:
    """A structlog processor: plain values pass, anything else is replaced by the name of its type.

    An allow-list and not a search for `Secret`: octets and objects that hold them would print as
    readily.
    """
    return {str(key): _plain(value, LOG_DEPTH_MAX) for key, value in line.items()}


def _plain(value: object, depth: int) -> object:
    plain: object = f"<refused {type(value).__name__}>"
    if isinstance(value, enum.Enum):
        plain = value.name
    elif value is None or isinstance(value, str | int | float):
        plain = value
    elif depth and isinstance(value, Mapping):
        plain = {str(key): _plain(item, depth - 1) for key, item in value.items()}
    elif depth and isinstance(value, list | tuple):
        plain = [_plain(item, depth - 1) for item in value]
    elif isinstance(value, os.PathLike):
        plain = os.fspath(value)
    elif isinstance(value, OSError):
        plain = f"{type(value).__name__}: {value.strerror}"
    return plain


def _json(line: object, **_: object) -> str:
    return msgspec.json.encode(line).decode()


class SparseLog:
    """A log for what comes in floods: a few lines a second, and how many were left out."""

    def __init__(self, log: Any, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._since_s = float("-inf")
        self._lines = 0
        self._left_out = 0

    def apart(self) -> "SparseLog":
        """Another one to the same log, that isn't silenced by the lines of this one."""
        return SparseLog(self._log, self._clock)

    def info(self, message: str, **fields: object) -> None:
        """Log one line, or count it as `left_out` of the next one."""
        now_s = self._clock.boot_s()
        if now_s - self._since_s >= 1:
            self._since_s, self._lines = now_s, 0
        if self._lines >= STRANGERS_LINES_MAX:
            self._left_out += 1
            return
        self._lines += 1
        if self._left_out:
            fields["left_out"], self._left_out = self._left_out, 0
        self._log.info(message, **fields)


class EventLog:
    """The record of what happened, JSON lines, for drills: `{"t", "wall", "who", "kind", …}`.

    `t` is CLOCK_BOOTTIME, one for all processes of a machine. With an empty path nothing is
    recorded.
    """

    def __init__(self, path: str, who: str, clock: Clock) -> None:
        """Open `path` for appending (made with mode 0600). Raises OSError."""
        self._who = who
        self._clock = clock
        self._fd = -1
        self.lost = 0
        """Events that could not be written whole (disk full); the process goes on without them."""
        if path:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, kind: str, **fields: object) -> None:
        """Record one event; octets are written as hex. TypeError for a Secret, ValueError for a
        line too long.
        """
        if self._fd < 0:
            return
        line: dict[str, object] = {
            "t": round(self._clock.boot_s(), 6),
            "wall": round(self._clock.wall_s(), 6),
            "who": self._who,
            "kind": kind,
        }
        for key, value in fields.items():
            if isinstance(value, Secret):
                raise TypeError(f"event {kind}: {key} is a Secret")
            line[key] = value.hex() if isinstance(value, bytes) else value
        octets = msgspec.json.encode(line) + b"\n"
        if len(octets) > EVENT_LINE_OCTETS_MAX:
            raise ValueError(f"event {kind} takes {len(octets)} octets")
        try:
            whole = os.write(self._fd, octets) == len(octets)
        except OSError:
            whole = False
        self.lost += not whole

    def close(self) -> None:
        """Give the file back; writes after it are dropped."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
