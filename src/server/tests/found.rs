//! Histories that once failed.

use super::{
    book::live,
    history::{Ask, Commit, How, Op, Reply},
};

fn ask(key: usize) -> Op {
    Op::Begin(Ask {
        key,
        old_text: false,
        worker: 0,
        padding: 0,
        cap: 1,
        answers: 1,
        stream: false,
        wait: Commit::Stored,
    })
}

/// It gave back what it had taken of all limits, so that a key could have its provider asked without end.
#[test]
fn request_whose_own_credential_was_refused_counts_although_credits_refuse_it_too() {
    let refused = How::OwnRefused(Reply::Whole { input: 0, output: 0 });
    live(&[
        Op::SetLimit { limit: 5, level: 1, shadow: false },
        ask(2),
        Op::End { which: 0, how: refused },
        // The model says that this one is refused.
        ask(2),
    ]);
}
