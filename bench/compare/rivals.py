"""Processes that are measured in turn."""
import json
import os
import statistics
import subprocess
import sys
import time


class Rival:
    """A process that answers each number N on stdin with {"what": [seconds of N repetitions]}, and
    the end of its input with a result. Starting one waits until it is warm."""

    def __init__(self, name, command, threads, environment=None):
        self.name = name
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads),
                       "OPENBLAS_NUM_THREADS": str(threads), **(environment or {})}
        self.process = subprocess.Popen([str(word) for word in command], env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.seconds = {}
        self.ask(1)

    def ask(self, count):
        try:
            self.process.stdin.write(f"{count}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its own message is on stderr
        return self._read()

    def turn(self, count):
        """The first repetition after others had the machine only warms the caches."""
        for what, seconds in self.ask(1 + count).items():
            self.seconds.setdefault(what, []).extend(seconds[1:])

    def finish(self):
        self.process.stdin.close()
        result = self._read()
        self.process.wait()
        return result

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"compare: {self.name} stopped, exit code {self.process.wait()}")
        return json.loads(line)


def take_turns(rivals, rounds, steps):
    for _ in range(rounds):
        for rival in rivals:
            time.sleep(0.02)  # idle threads of the one before keep a core busy for a moment
            rival.turn(steps)


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
