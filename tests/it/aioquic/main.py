"""main.py CASE URL [ARGUMENT...]: runs one case against the server at URL (its origin) and prints a line of JSON."""

import json
import sys

import datagrams
import early
import hostile
import limits
import losses
import names
import restart
import sessions


def main():
    name, url, *arguments = sys.argv[1:]
    modules = [sessions, datagrams, limits, losses, hostile, early, restart, names]
    cases = {name: case for module in modules for name, case in module.CASES.items()}
    print(json.dumps(cases[name](url, *arguments)))


main()
