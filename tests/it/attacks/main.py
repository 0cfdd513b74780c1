"""main.py [--quick] [--server BINARY] [--list] [NAME...]: attacks a server and prints in a table what that did.

A name is that of an attack, or of a group: frames, handshakes, http3, slow, webtransport; without one, all are run. The
table has the server's memory before, at its peak and afterwards (RSS in MiB), its CPU time, the megabytes that came,
the code that the server closed the connection with, the codes that it reset streams with, and the latency of an honest
client's requests in ms, alone and during the attack. What else an attacker found is on standard error. It exits with 1
if something was not as it should be.

With the right to do so (root), the server and the honest client run before everything else on the machine, and a p99 of
more than five times what it is alone is not as it should be.

--quick: for the test suite: attacks that need no longer than half a second, and the honest client not measured alone.
"""

import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path += [str(HERE.parent / "aioquic"), str(HERE.parent / "conformance")]

import frames
import handshakes
import http3
import slow
import webtransport
from attack import measure

# The honest client's p99 during an attack is at most so many times what it is alone.
MOST_P99 = 5.0
# Attacks that delay it for longer: quiche::h3 goes through any number of empty DATA frames for one event.
DELAYING = {"empty-data"}

GROUPS = {
    "frames": frames.ATTACKS,
    "handshakes": handshakes.ATTACKS,
    "http3": http3.ATTACKS,
    "slow": slow.ATTACKS,
    "webtransport": webtransport.ATTACKS,
}


def chosen(names, quick):
    everything = [attack for attacks in GROUPS.values() for attack in attacks]
    found = [attack for name in names for attack in GROUPS.get(name, [])]
    found += [attack for attack in everything if attack.name in names]
    missing = set(names) - set(GROUPS) - {attack.name for attack in everything}
    if missing:
        sys.exit(f"unknown attacks: {', '.join(sorted(missing))}; see --list")
    return [attack for attack in found or everything if not quick or attack.quick]


def latency(client):
    p50, p99, _ = client
    return "-" if p50 is None else f"{p50:.1f}/{p99:.1f}"


HEADER = "| attack | RSS MiB | CPU s | MB in | close | resets | honest p50/p99 ms alone | during | verdict |"


def row(found):
    resets = " ".join(f"{code} x{count}" for code, count in found.found.get("resets", {}).items())
    verdict = "; ".join(found.wrong) or "as expected"
    memory = " > ".join(f"{value:.0f}" for value in found.rss)
    cells = (found.name, memory, f"{found.cpu:.2f}", f"{found.sent / 1e6:.1f}", found.close or "-", resets or "-")
    return "| " + " | ".join((*cells, latency(found.alone), latency(found.beside), verdict)) + " |"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--server", default="target/release/mio-quiche")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    attacks = chosen(arguments.names, arguments.quick)
    if arguments.list:
        for attack in attacks:
            print(f"{attack.name:30} {attack.about}")
        return
    binary = str(pathlib.Path(arguments.server).resolve())
    print(f"{HEADER}\n{'|---' * 9}|", flush=True)
    wrong = False
    for attack in attacks:
        try:
            found = measure(attack, binary, 0.4 if arguments.quick else 4, not arguments.quick)
        except Exception as error:
            print(f"| {attack.name} |{' |' * 7} {error} |", flush=True)
            wrong = True
            continue
        is_timed = found.preferred and attack.name not in DELAYING
        if is_timed and None not in (found.alone[1], found.beside[1]) and found.beside[1] > MOST_P99 * found.alone[1]:
            found.wrong.append(f"p99 over {MOST_P99} times that alone")
        print(row(found), flush=True)
        further = {key: value for key, value in found.found.items() if key not in ("resets", "stops", "packets", "cut_off")}
        if further and not arguments.quick:
            print(f"{attack.name}: {further}", file=sys.stderr)
        wrong = wrong or bool(found.wrong)
    sys.exit(wrong)


main()
