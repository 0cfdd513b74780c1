"""main.py CASE URL [ARGUMENT...]: runs one case against the server at URL (its origin) and prints a line of JSON."""

import json
import sys

import datagrams
import early
import hostile
import limits
import losses
import restart
import sessions


def main():
    name, url, *arguments = sys.argv[1:]
    cases = sessions.CASES | datagrams.CASES | limits.CASES | losses.CASES | hostile.CASES | early.CASES | restart.CASES
    print(json.dumps(cases[name](url, *arguments)))


main()
