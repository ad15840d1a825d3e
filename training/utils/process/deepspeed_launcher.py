"""The `deepspeed` command on one machine, with signals that reach its training.

    python -m training.utils.process.deepspeed_launcher --num_gpus 8 --module training.sft.train_sft FLAGS...

DeepSpeed's own launchers end at once on a signal, or kill the training after 30 s. Here they never see one: signals
are blocked in them, and passed on as SIGTERM to the processes that train, which save, end, and give the status.
"""

import os
import signal
import threading
from contextlib import suppress

import psutil
from deepspeed.launcher.runner import main

from .stop import SIGNALS


def pass_on_signals() -> None:
    while True:
        number = signal.sigwait(SIGNALS)
        launchers = psutil.Process().children()
        training = [process for launcher in launchers for process in launcher.children()]
        with suppress(psutil.NoSuchProcess):
            for process in training:
                process.terminate()
            if not training:
                for launcher in launchers:
                    launcher.kill()
                os._exit(128 + number)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # what is started from here inherits it
    with suppress(
        PermissionError
    ):  # what ends a terminal's session ends the run script, which passes that on
        os.setsid()
    threading.Thread(target=pass_on_signals, daemon=True).start()
    main()
