"""i-PI's protocol, from the side that computes: positions come in, forces go out.

The messages are those of i-PI's Python driver (i-PI 3.3): a header of twelve characters, then plain
numbers. i-PI says with INIT how many beads it sends together.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable

import numpy as np
from ase.calculators.socketio import IPIProtocol, SocketClosed, actualunixsocketname

from molequi.engines.ipi_driver import BeadForces, IpiDriver
from molequi.errors import UserError

_BATCH = re.compile(rb"(?:^|,)\s*batch_size\s*:\s*(\d+)")
_LAST_PORT = 65535
_PAUSE = 0.2  # s, between two knocks at a server that is not there yet


def connect(address: str, wait: float) -> socket.socket:
    """Connect to i-PI at HOST:PORT, or at the UNIX socket of that name.

    wait: s, for how long a server may be missing. Raises UserError where none comes.
    """
    host, colon, port = address.rpartition(":")
    if colon and not (re.fullmatch(r"\d{1,5}", port) and 0 < int(port) <= _LAST_PORT):
        raise UserError(
            f"the address is {address!r}; give HOST:PORT, with a port from 1 to {_LAST_PORT}, or a "
            "UNIX socket's name"
        )
    family = socket.AF_INET if colon else socket.AF_UNIX
    target = (host, int(port)) if colon else actualunixsocketname(address)
    end = time.monotonic() + wait
    while True:
        connection = socket.socket(family)
        try:
            connection.connect(target)
            return connection
        except OSError as error:
            connection.close()
            if time.monotonic() >= end:
                raise UserError(
                    f"no i-PI at {address} ({error}); start i-PI with this address, or give "
                    "another one"
                ) from error
        time.sleep(_PAUSE)


class IpiClient:
    """Answers i-PI until it says EXIT or goes away.

    n_calls: how many beads were computed so far.
    """

    def __init__(self, connection: socket.socket, driver: IpiDriver) -> None:
        self.driver, self.n_calls = driver, 0
        self._line = IPIProtocol(connection)
        self._batch = 0  # beads sent together, 0 before i-PI has said it
        self._found: list[BeadForces] = []
        self._answers: dict[str, Callable[[], None]] = {
            "STATUS": self._status,
            "INIT": self._init,
            "POSDATA": self._positions,
            "GETFORCE": self._forces,
        }

    def run(self) -> None:
        """Answer every message. Raises UserError for one that is not i-PI's."""
        while True:
            try:
                message = self._line.recvmsg()
            except SocketClosed:
                return
            if message == "EXIT":
                return
            if message not in self._answers:
                raise UserError(f"the server says {message!r}, which is no message of i-PI's")
            self._answers[message]()

    def _status(self) -> None:
        ready = "READY" if self._batch else "NEEDINIT"
        self._line.sendmsg("HAVEDATA" if self._found else ready)

    def _init(self) -> None:
        self._line.recv(1, np.int32)  # which replica; every bead is served alike
        text = self._line.recv(int(self._line.recv(1, np.int32)[0]), np.uint8).tobytes()
        said = _BATCH.search(text)
        self._batch = int(said[1]) if said else 1

    def _positions(self) -> None:
        """Take beads and compute them; alone the cell comes first, together their number."""
        n = max(self._batch, 1)
        if n == 1:
            cells = self._line.recv((1, 2, 3, 3), np.float64)
            n_atoms = int(self._line.recv(1, np.int32)[0])
        else:
            n_atoms = int(self._line.recv(1, np.int32)[0])
            cells = self._line.recv((n, 2, 3, 3), np.float64)
        positions = self._line.recv((n, n_atoms, 3), np.float64)
        self._found = self.driver.beads([*cells[:, 0]], [*positions])
        self.n_calls += n

    def _forces(self) -> None:
        found, self._found = self._found, []
        self._line.sendmsg("FORCEREADY")
        self._line.send([one.energy for one in found], np.float64)
        self._line.send(len(found[0].forces), np.int32)
        self._line.send([one.forces for one in found], np.float64)
        self._line.send([one.virial for one in found], np.float64)
        for one in found:
            extras = one.extras.encode()
            self._line.send(len(extras), np.int32)
            if (
                extras
            ):  # after a length of zero the server may be gone, and not even nothing arrives
                self._line.send(np.frombuffer(extras, np.uint8), np.uint8)
