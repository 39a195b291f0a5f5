"""Connections to pods through the API server, over a websocket: `portforward` to a port, `exec` of a command."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from websocket import ABNF, WebSocket, WebSocketConnectionClosedException, WebSocketException

from deployer.core.ports import Executed
from deployer.core.reading import Malformed, parse_json, shaped
from deployer.core.redact import foreign

# https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/ (connect portforward), one port:
# every message begins with its channel, 0 for data and 1 for errors, whose first message repeats the port.
_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_CONNECT_SECONDS = 10.0
# Of `exec`: 0 is standard input, 1 and 2 are the outputs, and 3 says at the end how the command ended.
_OUTPUTS, _ENDED = (1, 2), 3
_CHUNK, _MOST_OUTPUT = 2**18, 2**16


class PodStream:
    """Bytes to and from the pod; every method raises OSError where the connection or the pod fails."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._begun: set[int] = set()

    def send(self, data: bytes) -> None:
        """The pod is sent the bytes."""
        try:
            self._channel.send_binary(bytes([_DATA]) + data)
        except WebSocketException as error:
            raise _lost(error) from None

    def receive(self) -> bytes:
        """The next bytes that the pod sent; empty at the end."""
        while True:
            try:
                _, frame = self._channel.recv_data_frame(control_frame=False)
            except WebSocketConnectionClosedException:
                return b""
            except WebSocketException as error:
                raise _lost(error) from None
            content = bytes(frame.data)
            if frame.opcode == ABNF.OPCODE_CLOSE or not content:
                return b""
            first, channel = content[0] not in self._begun, content[0]
            self._begun.add(channel)
            if first:
                continue
            if channel == _ERROR:
                raise ConnectionError(foreign(content[1:].decode("utf-8", "replace")).strip()[:300])
            if content[1:]:
                return content[1:]

    def interrupt(self) -> None:
        """A thread that waits in `receive` gets the end."""
        with suppress(OSError, AttributeError):
            self._channel.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The connection is closed."""
        with suppress(OSError):
            self._channel.shutdown()


def open_stream(configuration: Any, url: str, headers: dict[str, str], timeout: float | None) -> PodStream:
    """The connection that the `portforward` URL leads to; `timeout` in seconds is for each answer. Raises OSError."""
    return PodStream(_connected(configuration, url, headers, timeout))


def execute(configuration: Any, url: str, headers: dict[str, str], data: bytes, timeout: float) -> Executed:
    """How the command of the `exec` URL ended that was given the data; `timeout` in seconds is for each answer.

    Its standard input does not end (the protocol cannot say so before Kubernetes 1.30): it must know how much to read.
    Raises OSError where there is no such container, or the connection fails.
    """
    channel = _connected(configuration, url, headers, timeout)
    said: list[bytes] = []
    try:
        for at in range(0, len(data), _CHUNK):
            channel.send_binary(bytes([_DATA]) + data[at : at + _CHUNK])
        while True:
            _, frame = channel.recv_data_frame(control_frame=False)
            content = bytes(frame.data)
            if frame.opcode == ABNF.OPCODE_CLOSE or not content:
                raise ConnectionError("the connection ended before the command did")
            if content[0] in _OUTPUTS and sum(map(len, said)) < _MOST_OUTPUT:
                said.append(content[1:])
            elif content[0] == _ENDED:
                output = foreign(b"".join(said).decode("utf-8", "replace")).strip()
                return _ended(content[1:], output)
    except WebSocketException as error:
        raise _lost(error) from None
    finally:
        with suppress(OSError):
            channel.shutdown()


@dataclass(frozen=True, slots=True)
class _Cause:
    reason: str = ""
    message: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class _Details:
    causes: tuple[_Cause, ...] | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The API server's own object for how something ended, as far as it is read."""

    status: str = ""
    message: str = ""
    reason: str = ""
    details: _Details | None = None

    @property
    def causes(self) -> tuple[_Cause, ...]:
        """The parts of a refusal."""
        return (self.details.causes if self.details is not None else None) or ()


def _ended(raw: bytes, output: str) -> Executed:
    """The command's exit code; 127 where the container has no such program."""
    try:
        status = shaped(Status, parse_json(raw))
    except Malformed:
        status = Status(message=foreign(raw.decode("utf-8", "replace")))
    if status.status == "Success":
        return Executed(0, output)
    code = next((one.message for one in status.causes if one.reason == "ExitCode"), "")
    return Executed(int(code) if code.isdecimal() else 127, output or foreign(status.message))


def _connected(configuration: Any, url: str, headers: dict[str, str], timeout: float | None) -> Any:
    channel: Any = WebSocket(sslopt=_tls(configuration))  # half of its methods carry no types
    words = [f"{name}: {value}" for name, value in headers.items()]
    try:
        channel.settimeout(_CONNECT_SECONDS)
        # The cluster is on this machine: no request to it may go through the machine's proxy.
        channel.connect(url.replace("http", "ws", 1), header=words, subprotocols=[_PROTOCOL], http_no_proxy=["*"])
        channel.settimeout(timeout)
    except (WebSocketException, OSError) as error:
        channel.shutdown()
        raise _lost(error) from None
    return channel


def _tls(configuration: Any) -> dict[str, Any]:
    """The kubeconfig's certificates as the package wants them."""
    if not configuration.verify_ssl:
        options: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    else:
        options = {"cert_reqs": ssl.CERT_REQUIRED}
        if configuration.ssl_ca_cert:
            options["ca_certs"] = configuration.ssl_ca_cert
        if configuration.assert_hostname is not None:
            options["check_hostname"] = configuration.assert_hostname
    named = {"certfile": configuration.cert_file, "keyfile": configuration.key_file,
             "server_hostname": configuration.tls_server_name}  # fmt: skip
    return options | {name: value for name, value in named.items() if value}


def _lost(error: Exception) -> ConnectionError:
    return ConnectionError(foreign(f"{type(error).__name__}: {error}").splitlines()[0][:300])


def parsed_head(data: bytes, method: str) -> tuple[int, dict[str, str]]:
    """Status and headers (names in lower case) of an HTTP answer to the method. Raises OSError where it is none."""
    answer = http.client.HTTPResponse(_Bytes(data), method=method)  # type: ignore[arg-type]
    try:
        answer.begin()
    except http.client.HTTPException as error:
        raise _lost(error) from None
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}


class _Bytes:
    """Bytes that are read like a connection."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> io.BytesIO:
        """The bytes from their beginning."""
        return io.BytesIO(self._data)
