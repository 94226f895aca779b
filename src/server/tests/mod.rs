//! The whole book over random histories, against a model.
//!
//! Requests are admitted, sent and settled by the code that serves; keys, limits, credits and versions change by the control
//! plane; the keeper stores into a real database, which is closed, opened and left behind at any moment. Only the provider
//! and the clocks are the test's. After each step the model ([`model`], [`bill`]) says what every counter holds, what every
//! request cost and what the accounts must say.
//!
//! `MILLRACE_MODEL_CASES` sets how many histories are tried, `MILLRACE_MODEL_SEED` which. What fails is shrunk and shown as
//! a list of steps; it goes into `found.rs`.

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

mod bill;
mod book;
mod checks;
mod expected;
mod found;
mod history;
mod model;
mod requests;
mod world;

/// I-1, I-2, I-3, I-4, I-5, I-6, I-8, I-9, I-10, I-12, I-13, I-16, I-17, I-19, I-21, I-22, I-23, I-24.
#[test]
fn book_says_what_the_model_says_after_any_history() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let cases = number("MILLRACE_MODEL_CASES").unwrap_or(60);
    let seed = number("MILLRACE_MODEL_SEED").unwrap_or(1).to_le_bytes().repeat(8);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4_096, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let outcome = runner.run(&history::histories(), |history| {
        book::live(&history);
        Ok::<_, TestCaseError>(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, history)) => {
            let steps: String = history.iter().map(|step| format!("    {step:?},\n")).collect();
            panic!("{reason}\n{steps}");
        }
        Err(error) => panic!("{error}"),
    }
}
