"""tests.py: tests of what scripts/bench computes and prints. MIO_QUICHE_OURS is the program to start as a server."""

import os
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "tests/interop"))

import main
import measure
import report
import suites
from measure import Cores, Figure
from process import Failure, is_bound
from servers import Fixture
from suites import SUITES, Bench, Step, Suite, start_http

H2LOAD = """starting benchmark...
Main benchmark duration is started for thread #0.
Main benchmark duration is over for thread #0. Stopping all clients.

finished in 2.00s, 50000.00 req/s, 3.10MB/s
requests: 100000 total, 100100 started, 100000 done, 100000 succeeded, FAILED failed, 0 errored, 0 timeout
"""


class Measured(unittest.TestCase):
    def test_requests(self):
        found = {"requests": 1000, "seconds": 2.0, "server_cpu_seconds": 0.01, "client_cpu_seconds": 1.95}
        self.assertEqual(measure.of_rate(found), Figure(500, 10, True))
        found["client_cpu_seconds"] = 1.0
        self.assertFalse(measure.of_rate(found).limited)
        with self.assertRaises(Failure):
            measure.of_rate(found | {"requests": 0})

    def test_bytes(self):
        found = {"bytes_received": 150_000_000, "bytes_sent": 50_000_000, "mb_per_second": 100.0, "seconds": 2.0}
        found |= {"server_cpu_seconds": 0.4, "client_cpu_seconds": 1.0}
        self.assertEqual(measure.of_bytes(found), Figure(100, 2, False))

    def test_a_schedule(self):
        found = {"requests": 9000, "started": 9000, "errors": {}, "rate": 3000.0}
        found |= {"latency_ms": {"p50": 0.25, "p99": 1.0, "p99.9": 2.5}}
        self.assertEqual(measure.of_scheduled(found, 0.03), [Figure(250, 10), Figure(1000), Figure(2500)])
        with self.assertRaises(Failure):
            measure.of_scheduled(found | {"errors": {"timeout": 1}}, 0.03)
        with self.assertRaises(Failure):
            measure.of_scheduled(found | {"requests": 8999}, 0.03)

    def test_h2load(self):
        text = H2LOAD.replace("FAILED", "0")
        self.assertEqual(measure.of_h2load(text, 1.0, 1.0, 2.0), Figure(50_000, 10, False))
        self.assertTrue(measure.of_h2load(text, 1.0, 2.0, 2.0).limited)
        with self.assertRaises(Failure):
            measure.of_h2load(H2LOAD.replace("FAILED", "1"), 1.0, 1.0, 2.0)
        with self.assertRaises(Failure):
            measure.of_h2load("Segmentation fault", 1.0, 1.0, 2.0)

    def test_this_process(self):
        self.assertIn(os.getpid(), measure.descendants(os.getppid()))
        self.assertGreater(measure.cpu_seconds([os.getpid()]), 0)
        self.assertGreater(measure.resident_kib([os.getpid()]), 1000)

    def test_a_program(self):
        core = max(os.sched_getaffinity(0))
        text, _, cpu = measure.run(["sh", "-c", "echo fine"], core, 20)
        self.assertEqual(text, "fine\n")
        self.assertGreater(cpu, 0)
        with self.assertRaisesRegex(Failure, "^no way$"):
            measure.run(["sh", "-c", "echo no way >&2; exit 3"], core, 20)
        with self.assertRaisesRegex(Failure, "not done"):
            measure.run(["sleep", "60"], core, 0.1)

    def test_cores(self):
        cores = Cores({0, 1, 2, 3})
        self.assertEqual((cores.load, cores.server(1), cores.server(2)), (3, [0], [0, 1]))
        cores = Cores({0, 1})
        self.assertEqual((cores.load, cores.server(1), cores.server(2)), (1, [0], [0, 1]))


class Tables(unittest.TestCase):
    def test_numbers(self):
        numbers = {0: "0.00", 5.432: "5.43", 9.996: "10.0", 38.91: "38.9", 99.96: "100", 784.4: "784", 9_999: "9999"}
        numbers |= {9_999.6: "10.0k", 12_345: "12.3k", 99_949: "99.9k", 99_951: "100k", 291_800: "292k"}
        self.assertEqual({value: report.short(value) for value in numbers}, numbers)

    def results(self):
        results = report.Results()
        results.expect("http", ["GET", "p50"], ["ours", "baseline", "nginx"])
        results.expect("http", ["p50", "upload"], ["ours", "nginx"])
        for number, (ours, baseline) in enumerate([(100, 200), (300, 200), (220, 200)]):
            results.add("http", "GET", "ours", number, Figure(ours, 4, number < 2))
            results.add("http", "GET", "baseline", number, Figure(baseline, 5))
        results.add("http", "p50", "ours", 0, Figure(250))
        results.fail("http", "upload", "ours")
        return results

    def test_medians_and_ratios(self):
        results = self.results()
        self.assertEqual(results.of("http", "GET", "ours"), Figure(220, 4, True))
        self.assertEqual(results.ratio("http", "GET", "ours", "baseline"), "1.10 [0.50-1.50] (0.80)")
        self.assertEqual(results.ratio("http", "p50", "ours", "baseline"), "-")
        self.assertEqual(len(results.raw()), 7)

    def test_a_table(self):
        title = {"baseline": "ours at abc"}
        found = report.table(self.results(), "http", lambda peer: title.get(peer, peer))
        self.assertEqual(found.splitlines(), [
            "| http   |        ours | ours at abc |         ours / baseline | nginx |",
            "|--------|------------:|------------:|------------------------:|------:|",
            "| GET    | 220* (4.00) |  200 (5.00) | 1.10 [0.50-1.50] (0.80) |     - |",
            "| p50    |         250 |           - |                       - |     - |",
            "| upload |      failed |           - |                       - |     - |",
        ])


class Options(unittest.TestCase):
    def test_what_is_needed(self):
        def needed(*arguments):
            return main.needed(main.parsed(arguments))

        self.assertEqual(needed("--suite", "rate", "--peer", "ours"), ["MIO_QUICHE_OURS"])
        self.assertEqual(needed("--suite", "get", "--peer", "quinn"), ["MIO_QUICHE_LOAD", "MIO_QUICHE_BENCH_SERVERS"])
        compared = needed("--suite", "get", "--peer", "ours", "--compare", "abc")
        self.assertEqual(compared, ["MIO_QUICHE_LOAD", "MIO_QUICHE_OURS", "MIO_QUICHE_BASELINE"])
        self.assertIn("MIO_QUICHE_H2LOAD", needed("--suite", "http"))
        self.assertNotIn("MIO_QUICHE_WT", needed("--suite", "http"))
        self.assertIn("MIO_QUICHE_CURL", needed())
        of_bun = ["MIO_QUICHE_H2LOAD", "MIO_QUICHE_LIBRARY", "MIO_QUICHE_OURS", "MIO_QUICHE_BUN", "MIO_QUICHE_WT"]
        self.assertEqual(needed("--suite", "bun"), of_bun)

    def test_requests_at_a_time(self):
        self.assertEqual(suites.h2load_options("bun", 10, 10), ["--alpn-list=h3", "-c", 10, "-m", 10])
        self.assertEqual(suites.h2load_options("bun-http1", 10, 10), ["--alpn-list=http/1.1", "-c", 100, "-m", 1])

    def test_no_row_is_in_two_suites(self):
        rows = [(suite.table, row) for suite in SUITES for step in suite.steps for row in step.rows]
        self.assertEqual(len(rows), len(set(rows)))


class Turns(unittest.TestCase):
    def test_a_server_has_its_turn_and_is_stopped(self):
        tools, seen = {"MIO_QUICHE_OURS": os.environ["MIO_QUICHE_OURS"]}, []

        def memory(_, server, peer):
            seen.append(server)
            self.assertTrue(is_bound(server.port))
            return [Figure(server.resident_kib(), server.cpu_seconds())]

        def broken(*_):
            raise Failure("it is to fail")

        steps = (Step(("memory",), memory), Step(("again",), memory), Step(("fresh",), memory, fresh=True),
                 Step(("broken",), broken), Step(("first",), memory, rounds=1))
        suite = Suite("test", "http", ("ours",), steps, start_http)
        results, said = report.Results(), []
        progress = main.Progress()
        progress.complain = said.append
        with tempfile.TemporaryDirectory() as directory:
            bench = Bench(tools, Fixture(directory, 1), Cores(os.sched_getaffinity(0)), 1)
            for number in range(2):
                main.take_turn(bench, suite, "ours", number, results, progress)
        self.assertGreater(results.of("http", "memory", "ours").value, 1000)
        self.assertIs(seen[0], seen[1])
        self.assertIsNot(seen[1], seen[2])
        self.assertEqual(said, [f"round {number}: ours, broken: it is to fail" for number in (1, 2)])
        self.assertEqual(results.failed, {("http", "broken", "ours")})
        self.assertEqual([len(results.figures["http", row, "ours"]) for row in ("fresh", "first")], [2, 1])
        self.assertFalse(any(is_bound(server.port) for server in seen))


unittest.main()
