//! The routes of the demo server, which the tests and benchmarks talk to.
