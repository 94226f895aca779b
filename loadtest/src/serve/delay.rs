//! Waiting times: fixed, or drawn from a distribution.

use std::time::Duration;

/// Longest time that one delay may last, in milliseconds: one hour.
const DELAY_MS_MAX: f64 = 3_600_000.0;

/// A waiting time, drawn anew each time it is needed. All numbers are milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Delay {
    /// Always the same.
    Fixed(f64),
    /// Normal with a mean and a standard deviation, cut at zero.
    Normal(f64, f64),
    /// Exponential with a mean.
    Exponential(f64),
    /// Uniform from a lower to an upper bound.
    Uniform(f64, f64),
}

impl Delay {
    /// No wait at all.
    pub(crate) const NONE: Self = Self::Fixed(0.0);

    /// Reads `12`, `normal:MEAN:DEVIATION`, `exp:MEAN` or `uniform:LOW:HIGH`, in milliseconds.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let delay = match parts.as_slice() {
            ["normal", mean, deviation] => Self::Normal(number(mean)?, number(deviation)?),
            ["exp", mean] => Self::Exponential(number(mean)?),
            ["uniform", low, high] => Self::Uniform(number(low)?, number(high)?),
            [fixed] => Self::Fixed(number(fixed)?),
            _ => {
                return Err(format!("unknown delay `{text}`; write `50`, `normal:50:10`, `exp:20` or `uniform:10:90`"));
            }
        };
        if let Self::Uniform(low, high) = delay
            && low > high
        {
            return Err(format!("delay `{text}` has its lower bound above its upper one"));
        }
        Ok(delay)
    }

    /// Whether it never waits.
    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Draws one waiting time.
    pub(crate) fn sample(self, random: &mut fastrand::Rng) -> Duration {
        let ms = match self {
            Self::Fixed(ms) => ms,
            Self::Normal(mean, deviation) => mean + deviation * standard_normal(random),
            Self::Exponential(mean) => -mean * (1.0 - random.f64()).ln(),
            Self::Uniform(low, high) => low + (high - low) * random.f64(),
        };
        Duration::from_secs_f64(ms.clamp(0.0, DELAY_MS_MAX) / 1_000.0)
    }
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ms) if (0.0..=DELAY_MS_MAX).contains(&ms) => Ok(ms),
        _ => Err(format!("`{text}` is no time from 0 to {DELAY_MS_MAX} ms")),
    }
}

/// Draws from the standard normal distribution (Box and Muller).
fn standard_normal(random: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_read_or_refused() {
        for (text, want) in [
            ("12", Some(Delay::Fixed(12.0))),
            ("0.5", Some(Delay::Fixed(0.5))),
            ("normal:50:10", Some(Delay::Normal(50.0, 10.0))),
            ("exp:20", Some(Delay::Exponential(20.0))),
            ("uniform:10:90", Some(Delay::Uniform(10.0, 90.0))),
            ("uniform:90:10", None),
            ("normal:50", None),
            ("-1", None),
            ("nan", None),
            ("1e9", None),
            ("", None),
        ] {
            assert_eq!(Delay::parse(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn samples_have_the_mean_they_name() {
        let mut random = fastrand::Rng::with_seed(7);
        for (name, delay, want_ms) in [
            ("fixed", Delay::Fixed(20.0), 20.0),
            ("normal", Delay::Normal(50.0, 10.0), 50.0),
            ("exp", Delay::Exponential(20.0), 20.0),
            ("uniform", Delay::Uniform(10.0, 90.0), 50.0),
        ] {
            let total: Duration = (0..20_000).map(|_| delay.sample(&mut random)).sum();
            let mean_ms = total.as_secs_f64() * 1_000.0 / 20_000.0;
            assert!((mean_ms - want_ms).abs() < want_ms * 0.03, "{name}: {mean_ms}");
        }
    }
}
