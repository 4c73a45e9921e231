"""`molequi drive`: the forces of a model for i-PI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molequi.cli import options
from molequi.cli.output import say
from molequi.errors import UserError
from molequi.runtime.wording import counted

Template = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="The atoms in i-PI's order; pbc and charge are its first structure's.",
    ),
]
Address = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="HOST:PORT|NAME",
        help="Where i-PI listens: a host and a port, or the name of a UNIX socket.",
    ),
]
Wait = Annotated[
    float, typer.Option("--wait", min=0.0, help="Seconds that i-PI may take until it listens.")
]


def drive(
    template: Template,
    *,
    address: Address = "localhost:31415",
    wait: Wait = 60.0,
    model: options.Model = "organic",
    charge: options.Charge = None,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = None,
) -> None:
    """Compute forces for i-PI until it ends, all beads that it sends together at once.

    Other servers of the same protocol, such as ASE's SocketIOCalculator, are served too. Where the
    molecule has a dipole, i-PI gets it as an extra, in e·bohr.
    """
    if not template.is_file():
        raise UserError(f"no file {template}; give a structure file with the atoms in i-PI's order")

    from molequi.engines.ipi_driver import IpiDriver
    from molequi.engines.ipi_socket import IpiClient, connect

    driver = IpiDriver(
        template, model, device=device.value, dtype=options.precision(dtype), charge=charge
    )
    with connect(address, wait) as connection:
        say(f"connected to {address}")
        client = IpiClient(connection, driver)
        client.run()
    say(f"the server at {address} ended after {counted(client.n_calls, 'structure')}")
