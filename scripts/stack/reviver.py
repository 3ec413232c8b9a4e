"""Lets supervisord begin anew with a program it has given up. Runs as its event listener."""

from __future__ import annotations

import os
import sys
import xmlrpc.client
from typing import TextIO

from supervisor import childutils


def serve(stdin: TextIO, stdout: TextIO, supervisor: xmlrpc.client.ServerProxy) -> None:
    """Answer supervisord's events until it closes the pipe."""
    while True:
        print("READY", file=stdout, flush=True)
        header = stdin.readline()
        if not header:
            return
        size = int(childutils.get_headers(header)["len"])
        process = childutils.get_headers(stdin.read(size))["processname"]
        print(f"{process} keeps ending; starting it again", file=sys.stderr, flush=True)
        try:
            supervisor.supervisor.startProcess(process, False)
        except xmlrpc.client.Fault as fault:
            print(f"{process}: {fault.faultString}", file=sys.stderr, flush=True)
        stdout.write("RESULT 2\nOK")
        stdout.flush()


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout, childutils.getRPCInterface(os.environ))
