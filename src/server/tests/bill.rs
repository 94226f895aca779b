//! What a request is billed, by the rules alone.

use super::history::{Finish, How, Reply};

/// Prices of a model, in pico-USD a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Price {
    pub(super) input: u64,
    pub(super) output: u64,
}

impl Price {
    /// In nano-USD, rounded up.
    pub(super) fn of(self, input: u64, output: u64) -> u64 {
        let pico = u128::from(self.input) * u128::from(input) + u128::from(self.output) * u128::from(output);
        u64::try_from(pico.div_ceil(1_000)).unwrap()
    }
}

/// What was agreed when a request was admitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Of the own credential.
    pub(super) own: Option<Price>,
    /// Of the platform's.
    pub(super) paid: Option<Price>,
    /// In hundredths of a percent.
    pub(super) fee: u64,
    /// Most tokens of input that are billed, where limits bound them.
    pub(super) input_most: Option<u64>,
    /// Most tokens of output, where the provider was told.
    pub(super) output_most: Option<u64>,
    pub(super) on_cancel: OnCancel,
    pub(super) body_len: u64,
    /// Whether the client asked for a stream.
    pub(super) stream: bool,
}

/// What happens when the client leaves a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnCancel {
    Estimate,
    Drain,
    Free,
}

/// What is to be found in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bill {
    pub(super) input: u64,
    pub(super) output: u64,
    /// None where nothing has a price.
    pub(super) cost: Option<u64>,
    pub(super) fee: u64,
    pub(super) attempts: u32,
    pub(super) is_suspect: bool,
    pub(super) is_estimated: bool,
    pub(super) is_platform: bool,
}

/// More than any model reads or writes.
const TOKENS_MAX: u64 = 10_000_000;

impl Terms {
    fn fee_on(&self, cost: u64) -> u64 {
        u64::try_from((u128::from(cost) * u128::from(self.fee)).div_ceil(10_000)).unwrap()
    }

    /// The most that it can cost.
    pub(super) fn most(&self, input: u64, output: u64) -> u64 {
        let own = self.own.map_or(0, |price| price.of(input, output));
        let paid = self.paid.map_or(0, |price| price.of(input, output));
        own.max(paid + self.fee_on(paid))
    }

    /// What a request is billed that ends so. `falls_back` is whether the platform's credential took over.
    pub(super) fn bill(&self, how: &How, body_of: impl Fn(&Reply) -> u64, (is_paid, falls_back): (bool, bool)) -> Bill {
        let mut bill = Bill { attempts: 1, is_platform: is_paid || falls_back, ..Bill::default() };
        let mut is_free = false;
        match how {
            How::Panic => self.estimate(&mut bill),
            How::Dropped => {}
            How::OwnRefused(_) if !falls_back => {}
            How::OwnRefused(reply) => {
                bill.attempts = 2;
                is_free = self.reply(&mut bill, reply, body_of(reply));
            }
            How::Answered { dead, answer } => {
                bill.attempts = 1 + dead;
                is_free = self.reply(&mut bill, answer, body_of(answer));
            }
        }
        self.cut(&mut bill);
        let price = if bill.is_platform { self.paid } else { self.own };
        bill.cost = price.map(|price| price.of(bill.input, bill.output));
        if is_free && !bill.is_platform {
            bill.cost = bill.cost.map(|_| 0);
        }
        if bill.is_platform {
            bill.fee = self.fee_on(bill.cost.unwrap());
        }
        bill
    }

    fn estimate(&self, bill: &mut Bill) {
        bill.is_estimated = true;
        bill.input = self.body_len.div_ceil(4);
    }

    /// Whether it is free, because the client left.
    fn reply(&self, bill: &mut Bill, reply: &Reply, body_len: u64) -> bool {
        match reply {
            Reply::Whole { input, output } => {
                (bill.input, bill.output) = (stated(*input, self.body_len + 16), stated(*output, 400));
            }
            Reply::NoUsage { .. } => {
                self.estimate(bill);
                bill.output = body_len.div_ceil(4);
            }
            Reply::Stream { events, chars, output, end } => return self.stream(bill, (*events, *chars, *output), *end),
            Reply::ClientGone => {
                self.estimate(bill);
                return self.stream && self.on_cancel == OnCancel::Free;
            }
            Reply::TimedOut | Reply::Truncated => self.estimate(bill),
            Reply::Error(_) | Reply::Reset => {}
        }
        false
    }

    fn stream(&self, bill: &mut Bill, (events, chars, output): (usize, usize, Option<u64>), end: Finish) -> bool {
        let is_drained = self.on_cancel == OnCancel::Drain && end == Finish::ClientGone;
        let is_whole = end == Finish::Complete || is_drained;
        let count = if is_whole { events } else { events / 2 };
        let said = u64::try_from(count * chars).unwrap();
        if count == 0 && !is_whole {
            // Nothing came that could be passed on.
            self.estimate(bill);
            return end == Finish::ClientGone && self.on_cancel == OnCancel::Free;
        }
        match output.filter(|_| is_whole) {
            None => {
                self.estimate(bill);
                bill.output = said.div_ceil(4);
            }
            Some(output) => {
                bill.input = 7;
                bill.output = stated(output, 400);
                // Half of what was received is the least that is believed.
                if bill.output + 16 < said / 8 {
                    (bill.output, bill.is_suspect) = (said / 8, true);
                }
            }
        }
        end == Finish::ClientGone && self.on_cancel == OnCancel::Free
    }

    /// No more than was reserved, nor than anybody reads and writes.
    fn cut(&self, bill: &mut Bill) {
        let in_body = self.input_most.unwrap_or(self.body_len + 16);
        if bill.input > TOKENS_MAX {
            (bill.input, bill.is_suspect) = (in_body, true);
        }
        if bill.output > TOKENS_MAX {
            (bill.output, bill.is_suspect) = (self.output_most.unwrap_or(super::world::OUTPUT_MAX), true);
        }
        for (tokens, most) in [(&mut bill.input, self.input_most), (&mut bill.output, self.output_most)] {
            if let Some(most) = most.filter(|most| *tokens > *most) {
                (*tokens, bill.is_suspect) = (most, true);
            }
        }
    }
}

/// A part of some tokens, in percent.
pub(super) fn stated(percent: u64, of: u64) -> u64 {
    u64::try_from(u128::from(of) * u128::from(percent) / 100).unwrap()
}
