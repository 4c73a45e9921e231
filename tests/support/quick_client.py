"""Stand in the place of `molequi` or `python`: hand a command line to the server, give its code.

Arguments: the server's socket, and the command line. Imports little, so that it starts at once.
"""

import json
import os
import signal
import socket
import sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    request = json.dumps(
        {"command": sys.argv[2:], "folder": os.getcwd(), "environment": dict(os.environ)}
    ).encode()
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(request)
    with server.makefile() as answers:
        process = int(answers.readline())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _frame: os.kill(process, number))
        code = int(answers.readline())
os._exit(code if code >= 0 else 128 - code)  # as a shell tells of a signal
