"""main.py run TABLE URL: runs a table's checks against the server at URL; prints a line of JSON for each.
main.py document: prints docs/conformance.md."""

import json
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.append(str(pathlib.Path(__file__).parent.parent / "aioquic"))

import handshake
import http3
import quic

TABLES = {
    "quic": ("QUIC", quic.CHECKS),
    "handshake": ("The handshake", handshake.CHECKS),
    "http3": ("HTTP/3 and QPACK", http3.CHECKS),
}

INTRODUCTION = """\
# Conformance

What the server does when a client violates a rule. `tests/it/conformance/main.py document` prints this file from the
tables beside it, and `cargo test --test it conformance` runs them: a test fails as soon as the outcome of a check is
not the one under "today".

- {passed} of {total} checks have an outcome that the RFC names: "pass".
- In {optional}, the RFC permits an error and does not require it: "optional".
- In {quiche}, quiche 0.30 does not enforce the rule, or gives another code: "quiche".

An asterisk marks the {h3spec} checks of [h3spec](https://github.com/kazu-yamamoto/h3spec): {h3spec_passed} pass.

A code closes the connection unless it says "on the stream"; TLS alerts are sent as CRYPTO_ERROR. "ignored" means that
the connection goes on, "answered" that the request is answered, and "silence" that the server sends nothing any more,
so that the client has to give up.
"""


def run(table, url):
    def found(check):
        try:
            return check.run(url)
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    _, checks = TABLES[table]
    with ThreadPoolExecutor(8) as pool:
        for check, outcome in zip(checks, pool.map(found, checks)):
            print(json.dumps([f"{check.section}: {check.violation}", check.today, outcome]))


def document():
    everything = [check for _, checks in TABLES.values() for check in checks]
    verdicts = [check.verdict for check in everything]
    h3spec = [check.verdict for check in everything if check.h3spec]
    print(INTRODUCTION.format(
        total=len(everything), passed=verdicts.count("pass"), optional=verdicts.count("optional"),
        quiche=verdicts.count("quiche"), h3spec=len(h3spec), h3spec_passed=h3spec.count("pass"),
    ), end="")
    for title, checks in TABLES.values():
        print(f"\n## {title}\n\n| RFC and section | violation | required | today | verdict |\n|---|---|---|---|---|")
        for check in checks:
            star = " *" if check.h3spec else ""
            required = " or ".join(check.must)
            print(f"| {check.section} | {check.violation}{star} | {required} | {check.today} | {check.verdict} |")


match sys.argv[1:]:
    case ["run", table, url]:
        run(table, url)
    case ["document"]:
        document()
    case _:
        sys.exit(__doc__)
