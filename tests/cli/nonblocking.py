"""Runs a program whose standard output is a full non-blocking pipe, and reads it slowly.

Usage: python3 nonblocking.py PROGRAM ARGUMENT...
Prints what the program wrote to standard output, and exits with its code.
"""
import fcntl
import os
import subprocess
import sys
import time

reader, writer = os.pipe()
fcntl.fcntl(writer, fcntl.F_SETFL, fcntl.fcntl(writer, fcntl.F_GETFL) | os.O_NONBLOCK)
fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ: the smallest pipe
process = subprocess.Popen(sys.argv[1:], stdout=writer)
os.close(writer)
time.sleep(1)  # the pipe is full when the first byte is read
while piece := os.read(reader, 512):
    sys.stdout.buffer.write(piece)
    time.sleep(0.001)
sys.exit(process.wait())
