"""A TCP connection to a port of a pod, through the API server's `portforward`, over a websocket."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from contextlib import suppress
from typing import Any

from websocket import ABNF, WebSocket, WebSocketConnectionClosedException, WebSocketException

from deployer.core.redact import foreign

# https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/ (connect portforward), one port:
# every message begins with its channel, 0 for data and 1 for errors, whose first message repeats the port.
_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_CONNECT_SECONDS = 10.0


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
    return PodStream(channel)


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
