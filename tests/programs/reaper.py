"""A subreaper: adopts what its children leave behind, and reaps it only when told to.

Runs the command that it is given, says "ran", waits for a line and reaps until none of its children has ended.
"""

import ctypes
import os
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36

if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
    sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
if len(sys.argv) > 1:
    subprocess.run(sys.argv[1:], check=True, stdin=subprocess.DEVNULL)
print("ran", flush=True)
sys.stdin.readline()
