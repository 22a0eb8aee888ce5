"""As a terminal multiplexer: holds a terminal that a shell works at. Says its own pid and the shell's, and stays."""

import os
import pty
import signal

shell, terminal = pty.fork()
if shell == 0:
    os.execvp("sh", ["sh", "-c", "echo ready; sleep 600"])
seen = b""
while b"ready" not in seen:
    seen += os.read(terminal, 1000)
print(os.getpid(), shell, flush=True)
signal.pause()
