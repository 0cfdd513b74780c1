"""The tables, on a terminal and in docs/interop.md."""

from dataclasses import dataclass

from run import FAIL, NOT_RUN, PASS, PEER, QUICHE

TITLES = {
    "server": "Our server, by client",
    "client": "Our client, by server",
    "webtransport": "WebTransport: our server by client, our client by server",
}


@dataclass
class Result:
    role: str
    peer: str
    case: object
    outcome: str
    reason: str
    seconds: float


def table(results):
    """A Markdown table of one role."""
    peers = list(dict.fromkeys(result.peer for result in results))
    chosen = list(dict.fromkeys(result.case for result in results))
    found = {(result.case, result.peer): result.outcome for result in results}
    rows = [["case", *peers]]
    rows += [[case.name.removeprefix("wt-"), *(found.get((case, peer), "") for peer in peers)] for case in chosen]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def by_role(results):
    return {role: mine for role in TITLES if (mine := [result for result in results if result.role == role])}


def tables(results):
    parts = []
    for role, mine in by_role(results).items():
        parts.append(f"{TITLES[role]}\n\n{table(mine)}\n{reasons(mine)}")
    return "\n".join(parts)


def reasons(results):
    """Why cells are not green, those with the same reason together."""
    groups = {}
    for result in results:
        if result.outcome != PASS:
            groups.setdefault((result.outcome, result.reason), []).append(result)
    lines = []
    for (outcome, reason), mine in groups.items():
        peers = dict.fromkeys(result.peer for result in mine)
        names = dict.fromkeys(result.case.name.removeprefix("wt-") for result in mine)
        lines.append(f"- {outcome}: {', '.join(names)} ({', '.join(peers)}): {reason}")
    return "\n".join(lines) + "\n" if lines else ""


def counts(results):
    return {name: sum(result.outcome == name for result in results) for name in (PASS, FAIL, PEER, QUICHE, NOT_RUN)}


def summary(results, seconds):
    found = counts(results)
    return ", ".join(f"{count} {name}" for name, count in found.items() if count) + f"; {seconds:.0f} s"


INTRODUCTION = """\
# Interoperability

The cases of [quic-interop-runner](https://github.com/quic-interop/quic-interop-runner) and of its WebTransport part,
between mio-quiche and other implementations. `scripts/interop --write` prints this file. Everything runs on one
machine: a forwarder between the peers delays, loses and corrupts packets, is dead for a time, or moves the client to
another port or address, and counts what passes. A case passes if every file has the SHA-256 that it has on the server,
and if the packets, our metrics and our qlog files show what the runner looks for in a packet capture: the connections,
Retry, 0-RTT, resumption, the cipher, the server's packets to a new address, at most three times the bytes received.

{counts}.

- pass: as it should be. fail: not so, for the reason below.
- peer: the peer lacks it. quiche: quiche 0.30 lacks it. not run: the peer was not there.

What differs from the runner:

- All cases are over HTTP/3; the runner takes HTTP/0.9 for most.
- connectionmigration: the client moves to another port by itself; quiche has no preferred address.
- handshakeloss and handshakecorruption: 10 connections, not 50, at most 5 at a time. rebind: once.
- multiplexing: our server runs with `--no-webtransport`. With WebTransport it lets clients open more streams than it
  takes requests at a time, as sessions need streams, too; requests over the limit (`--max-requests`) are rejected with
  H3_REQUEST_REJECTED, which ngtcp2's client does not send again.
- WebTransport: the demo's echo takes the place of GET and PUSH on streams. Rows named receive want content that the
  server sends on streams of its own, or in datagrams.

`docs/interop/` has the image for the runner itself. It runs the case http3, the only one over HTTP/3, in both roles.

## Cases

| case | | what is done |
|---|---|---|
{cases}
"""


def document(results):
    chosen = list(dict.fromkeys(result.case for result in results))
    rows = "\n".join(f"| {case.name} | {case.letters} | {case.about} |" for case in chosen)
    found = counts(results)
    names = {PASS: "passed", FAIL: "failed", PEER: "are not supported by the peer", QUICHE: "not by quiche",
             NOT_RUN: "were not run"}
    told = [f"{found[name]} {text}" for name, text in names.items() if found[name]]
    line = f"Of {len(results)} cells, {', '.join(told)}"
    parts = [INTRODUCTION.format(counts=line, cases=rows)]
    for role, mine in by_role(results).items():
        parts.append(f"## {TITLES[role]}\n\n{table(mine)}\n")
        if listed := reasons(mine):
            parts.append(listed)
    return "\n".join(parts)
