//! Property tests: generated cases against a model that is simpler than the code.
//!
//! The same cases every time, a few of them; `PROPTEST_CASES=10000 PROPTEST_RNG_SEED=7 cargo test --lib property_tests`
//! runs more and others. A failure shows the smallest case and the variables that give it again.

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestRunner};

const CASES: u32 = 100;

/// Runs `test` on generated values.
pub(crate) fn check<S: Strategy<Value: Debug>>(values: S, test: impl Fn(S::Value)) {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => 0,
    };
    config.rng_seed = RngSeed::Fixed(seed);
    let cases = config.cases;
    let run = TestRunner::new(config).run(&values, |value| {
        test(value);
        Ok(())
    });
    if let Err(failure) = run {
        panic!("{failure}\nPROPTEST_CASES={cases} PROPTEST_RNG_SEED={seed} gives it again");
    }
}
