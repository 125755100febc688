"""A stand-in for `nvidia-cuda-mps-control`: the daemon (`-f`) and its shell, over a UNIX socket.

It does as the file `mode` beside it says, and writes each call to `calls`. It imports next to nothing, as a
test runs it a dozen times.
"""

import _socket
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(sys.argv[0]))  # noqa: PTH100, PTH120
PIPES = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", HERE + "/default-pipes")
SOCKET = PIPES + "/control"


def told(name: str) -> str:
    """Return one of the files beside this one."""
    with open(HERE + "/" + name) as file:  # noqa: PTH123
        return file.read()


def write(path: str, text: str, how: str = "w") -> None:
    """Write a file at once."""
    with open(path, how) as file:  # noqa: PTH123
        file.write(text)


def received(connection: _socket.socket) -> str:
    """Return all that the other side sends."""
    found = b""
    while part := connection.recv(4096):
        found += part
    return found.decode()


def say(text: str) -> None:
    """Answer whoever called."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def shell() -> None:
    """Pass each line to the daemon."""
    for line in sys.stdin:
        command = line.strip()
        write(HERE + "/calls", f"shell {command}\n", "a")
        if "hangs" in told("mode").split():
            time.sleep(1000)
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            connection.connect(SOCKET)
            connection.send(command.encode())
            connection.shutdown(_socket.SHUT_WR)
            answer = received(connection)
        except OSError:
            say("Cannot find MPS control daemon process")
            sys.exit(1)
        say(answer)


class Daemon:
    """The daemon, with servers that sleep."""

    def __init__(self) -> None:
        self.servers: list[int] = []
        self.born = time.monotonic()

    def run(self) -> None:
        """Serve until `quit`."""
        import _signal as signal

        modes = told("mode").split()
        stubborn = "stubborn" in modes
        signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda *_: os._exit(143))
        if "forks" in modes and os.fork():
            os._exit(0)
        logs = os.environ["CUDA_MPS_LOG_DIRECTORY"]
        write(HERE + "/calls", f"files {logs}\n", "a")
        write(HERE + "/daemon.pid", str(os.getpid()))
        write(logs + "/control.log", "Starting control daemon\n")
        if "slow" in modes:
            time.sleep(0.3)
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        listener.bind(SOCKET)
        listener.listen(8)
        last = False
        while not last:
            connection = _socket.socket(fileno=listener._accept()[0])
            answer, last = self.answer(received(connection).split())
            try:  # noqa: SIM105
                connection.send(answer.encode())
            except OSError:  # it did not wait
                pass
            connection.close()

    def start_server(self) -> None:
        """Start a server, which obeys as little as the daemon does."""
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os.closerange(3, 64)
            if "stubborn" not in told("mode").split():
                os.execvp("sleep", ["sleep", "1000"])
            while True:
                time.sleep(1)
        self.servers.append(pid)

    def answer(self, words: list[str]) -> tuple[str, bool]:
        """Return the answer to a command, and whether it was the last."""
        modes = told("mode").split()
        name = words[0]
        if name == "quit" and not ("stubborn" in modes or ("no-quit-limit" in modes and "-t" in words)):
            for pid in self.servers:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
            os.unlink(SOCKET)  # noqa: PTH108
            return "", True
        if name == "start_server":
            self.start_server()
        answers = {
            "get_server_list": lambda: "\n".join(map(str, self.servers)),
            "start_server": lambda: "",
            "get_server_status": lambda: self.status(modes),
            "get_client_list": lambda: told("clients"),
            "ps": self.clients,
            "terminate_client": lambda: "1" if "will-not-terminate" in modes else "0",
            "help": lambda: "get_server_list\nquit [-t TIMEOUT]",
        }
        return answers.get(name, lambda: "Invalid command")(), False

    def clients(self) -> str:
        """Return the table of `ps`."""
        header = "PID       ID    SERVER  DEVICE                   NAMESPACE       COMMAND\n"
        server = self.servers[0] if self.servers else 0
        pids = told("clients").split()
        return header + "\n".join(
            f"{pid}  0  {server}  GPU-cb1213a3  4026531836  ./nbody -n 3" for pid in pids
        )

    def status(self, modes: list[str]) -> str:
        """Return the status that the mode wants now."""
        calls = told("calls")
        if "fault" in modes or ("fault-first" in modes and calls.count("files ") == 1):
            return "FAULT"
        if "fault-then-active" in modes:
            return "ACTIVE" if calls.count("get_server_status") > int(modes[1]) else "FAULT"
        if "slow" in modes and time.monotonic() - self.born < 0.8:
            return "INITIALIZING"
        return "ACTIVE"


def main(options: list[str]) -> None:
    """Be the daemon, the shell, or one that prints about itself."""
    if options:
        write(HERE + "/calls", "run " + " ".join(options) + "\n", "a")
    if options == ["-v"]:
        say("MPS control daemon 580.159")
    elif options == ["--help"]:
        say("usage: nvidia-cuda-mps-control [-d | -f]")
        sys.exit(1)
    elif options == ["-f"]:
        if "dies" in told("mode").split():
            say("An instance of this daemon is already running")
            sys.exit(3)
        Daemon().run()
    elif not options:
        shell()
    else:
        sys.exit(f"unknown option {options}")


if __name__ == "__main__":
    main(sys.argv[1:])
