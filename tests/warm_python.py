"""Scripts without the start of each of their commands: a process that has imported everything forks for each.

`python -m MODULE` of this project, found in the `bin` folder that `warm_python` makes, is sent there with its
arguments, environment, working folder and standard streams, and ends with its status. Anything else goes to the real
Python.
"""

import atexit
import faulthandler
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST_S = 500  # of a command; one that runs on says where it is, and ends
OURS = ("training", "eval", "demo", "data", "scripts")
IMPORTED = (  # what the commands need, but none of the commands itself
    "torch",
    "deepspeed",
    "eval.benches.table",
    "training.utils.process.cli",
    "training.utils.loop.fit",
    "training.utils.model.build_model",
    "training.utils.config.ppo_config",
    "training.ppo.models",
    "training.dpo.loss_types",
    "transformers.models.llava.modeling_llava",
    "transformers.models.clip.modeling_clip",
    "transformers.models.llama.modeling_llama",
)
SHIM = """#!{python} -IS
import json, os, socket, sys
arguments = sys.argv[1:]
if arguments[:1] == ["-m"] and arguments[1].split(".")[0] in {ours}:
    server = socket.socket(socket.AF_UNIX)
    server.connect({address!r})
    request = dict(module=arguments[1], arguments=arguments[2:], folder=os.getcwd(), environment=dict(os.environ))
    socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
    sys.exit(int(server.recv(16) or 1))
os.execv({python!r}, [{python!r}, *arguments])
"""


@contextmanager
def warm_python(folder: Path, *more: str) -> Iterator[Path]:
    """The folder to put in front of PATH.

    Args:
        more: modules that commands need beside those above.
    """
    address = str(folder / "server")
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.warm_python", address, *more],
        cwd=ROOT,
        env={**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    try:
        while not os.path.exists(address):
            assert server.poll() is None, "the server of the commands did not start"
            time.sleep(0.05)
        shim = folder / "bin" / "python"
        shim.parent.mkdir()
        shim.write_text(SHIM.format(python=sys.executable, ours=OURS, address=address))
        shim.chmod(0o755)
        yield shim.parent
    finally:
        server.kill()
        server.wait()


def serve(address: str, *more: str) -> None:
    for name in (*IMPORTED, *more):
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{address}.partial")
    server.listen()
    os.rename(f"{address}.partial", address)
    server.settimeout(5)
    parent = os.getppid()
    while os.getppid() == parent:  # the tests are still there
        try:
            client, _ = server.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            server.close()
            client.setblocking(True)
            status = run(client)
            client.sendall(str(status).encode())
            os._exit(status)
        client.close()


def run(client: socket.socket) -> int:
    """The command in this process; its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    content, streams, *_ = socket.recv_fds(client, 1 << 20, 3)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    request = json.loads(content)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = [request["module"], *request["arguments"]]
    faulthandler.dump_traceback_later(MOST_S, exit=True)
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()  # locks are given back
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    serve(*sys.argv[1:])
