//! Kept answers and facts about the instance.

use super::fixture::{Fixture, at};
use crate::store::record::KeptAnswer;

fn answer(caller: &str, key: &str, time: u64) -> KeptAnswer {
    KeptAnswer {
        caller: caller.to_owned(),
        key: key.to_owned(),
        request_digest: [3; 32],
        status: 201,
        sealed_body: vec![1, 2, 3],
        at: at(time),
    }
}

#[test]
fn answer_is_kept_for_a_caller_and_key_until_it_is_old() {
    let fixture = Fixture::new();
    for row in [answer("usr_a", "k", 1_000), answer("usr_b", "k", 2_000)] {
        fixture.write(move |tx| tx.keep_answer(&row)).unwrap();
    }
    fixture.write(|tx| tx.keep_answer(&answer("usr_a", "k", 1_500))).unwrap();
    assert_eq!(fixture.read(|tx| tx.kept_answer("usr_a", "k")), Ok(Some(answer("usr_a", "k", 1_500))), "the later one");
    assert_eq!(fixture.read(|tx| tx.kept_answer("usr_a", "K")), Ok(None));
    fixture.write(|tx| tx.forget_answers(at(2_000))).unwrap();
    let left = fixture.read(|tx| Ok((tx.kept_answer("usr_a", "k")?, tx.kept_answer("usr_b", "k")?)));
    assert_eq!(left, Ok((None, Some(answer("usr_b", "k", 2_000)))));
}

#[test]
fn note_is_written_over_and_removed() {
    let fixture = Fixture::new();
    assert_eq!(fixture.read(|tx| tx.note("setup")), Ok(None));
    for value in [Some(b"one".as_slice()), Some(b"".as_slice()), None, None] {
        fixture.write(move |tx| tx.put_note("setup", value)).unwrap();
        assert_eq!(fixture.read(|tx| tx.note("setup")).unwrap().as_deref(), value);
    }
}
