#!/usr/bin/env python3
"""How long flash-moe takes to end after Ctrl-C while it reads a long prompt, and its bar to move.

    tools/measure_interrupt.py FLASH_MOE MODEL [--memory 6GiB] [--tokens 3000] [--runs 12]

Each run starts `run` on a pseudo-terminal with a prompt of so many tokens, lets it work for another
while, sends SIGINT and waits for the end. Prints each run, then median and worst of the seconds and
of the processor time from the signal to the end, which other work on the machine does not change,
and of the longest pause between two drawings of the bar.
"""
import argparse
import json
import os
import pty
import select
import signal
import statistics
import subprocess
import tempfile
import time


def read_bar(terminal, drawings, seconds):
    """Notes when the bar is drawn, for so long or until the other side closes. False: closed."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if not select.select([terminal], [], [], left)[0]:
            return True
        try:
            text = os.read(terminal, 65536)
        except OSError:
            return False
        if b'reading the prompt [' in text:
            drawings.append(time.monotonic())
    return True


def processor_time(pid):
    """Seconds of all threads of a running process."""
    with open(f'/proc/{pid}/stat', encoding='ascii') as file:
        fields = file.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def interrupt(command, after):
    """Starts `command` and sends SIGINT once it has worked for so long; what came of it."""
    terminal, other_end = pty.openpty()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=other_end)
    os.close(other_end)
    drawings = []
    while processor_time(process.pid) < after:
        read_bar(terminal, drawings, 0.01)
        if process.poll() is not None:
            raise SystemExit(f'ended by itself before {after:.1f} s: a longer prompt is needed')
    used = processor_time(process.pid)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    while read_bar(terminal, drawings, 600):
        pass
    _, status, usage = os.wait4(process.pid, 0)
    ended = time.monotonic()
    process.returncode = os.waitstatus_to_exitcode(status)
    os.close(terminal)
    before = [t for t in drawings if t < sent]
    pauses = [b - a for a, b in zip(before, before[1:] + [sent])]
    return {'seconds': ended - sent, 'work': usage.ru_utime + usage.ru_stime - used,
            'pause': max(pauses, default=0), 'drawn': len(before), 'code': process.returncode}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('flash_moe')
    parser.add_argument('model')
    parser.add_argument('--memory', default='6GiB')
    parser.add_argument('--tokens', type=int, default=3000)
    parser.add_argument('--runs', type=int, default=12)
    parser.add_argument('--first', type=float, default=4, help='after so much work the first goes')
    parser.add_argument('--step', type=float, default=0.7, help='and each next one so much later')
    options = parser.parse_args()
    ids = [17 + i * 7919 % 200 for i in range(options.tokens)]
    with tempfile.NamedTemporaryFile('w', suffix='.json') as file:
        json.dump(ids, file)
        file.flush()
        command = [options.flash_moe, 'run', options.model, '--memory', options.memory, '--context',
                   str(options.tokens + 64), '--resident-set', 'off', '--ids-file', file.name]
        runs = []
        for run in range(options.runs):
            after = options.first + run * options.step
            runs.append(interrupt(command, after))
            print(f'signal after {after:5.2f} s of processor time: ' +
                  ', '.join(f'{key} {value:.3f}' for key, value in runs[-1].items()), flush=True)
    for key, what in (('seconds', 'from Ctrl-C to the end, seconds'),
                      ('work', 'processor time of all threads from Ctrl-C to the end, seconds'),
                      ('pause', 'longest pause of the bar, seconds')):
        values = [run[key] for run in runs]
        print(f'{what}: median {statistics.median(values):.3f}, worst {max(values):.3f}')


if __name__ == '__main__':
    main()
