"""Runs a program in a pseudo-terminal and prints one JSON object: {"code": ..., "output": ..., "prompts": [...]}.

Usage: python3 terminal.py COLUMNS SECONDS HANG_UP PROGRAM ARGUMENT...
Answers every permission prompt of Deno with "n" and lists it. Kills the program after SECONDS; the code is then null.
Closes the terminal when its output contains HANG_UP, unless that is empty.
"""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time


def plain_text(output):
    """Removes escape sequences, and what a carriage return overwrites."""
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", output).decode(errors="replace").replace("\r\n", "\n")
    return re.sub(r"[^\n]*\r", "", text)


columns, seconds, hang_up = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3].encode()
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[4], sys.argv[4:])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

output, answered, prompts = b"", 0, []
end = time.monotonic() + seconds
while time.monotonic() < end:
    if not select.select([terminal], [], [], 0.2)[0]:
        continue
    try:
        piece = os.read(terminal, 65536)
    except OSError:  # the program has ended
        break
    output += piece
    if hang_up and hang_up in output:
        os.close(terminal)
        break
    shown = plain_text(output[answered:])
    if "Allow?" in shown and shown.rstrip().endswith(">"):
        prompts += re.findall(r"requests (.*?)\.\n", shown)[-1:] or ["unknown"]
        answered = len(output)
        time.sleep(0.5)  # Deno discards what was typed before the prompt
        os.write(terminal, b"n\n")
else:
    os.kill(pid, signal.SIGKILL)
status = os.waitpid(pid, 0)[1]
code = None if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else os.waitstatus_to_exitcode(status)
json.dump({"code": code, "output": plain_text(output), "prompts": prompts}, sys.stdout)
