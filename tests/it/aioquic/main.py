"""main.py CASE URL: runs one case against the server at URL (its origin) and prints what happened as a line of JSON."""

import json
import sys

import datagrams
import hostile
import limits
import losses
import sessions


def main():
    name, url = sys.argv[1:]
    cases = sessions.CASES | datagrams.CASES | limits.CASES | losses.CASES | hostile.CASES
    print(json.dumps(cases[name](url)))


main()
