//! The learning rate of every iteration, from its number and, during a warm-up, from the training error so far.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// How the rate falls from its peak over a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Schedule {
    Constant,
    /// A tenth at each of these iterations.
    MultiStep(Vec<u64>),
    /// From the peak to 0 along half a cosine.
    Cosine,
    /// Up from a 25th of the peak over the first 30 % of the run, down to a 10,000th of that, both along half a cosine:
    /// PyTorch's `OneCycleLR` with its defaults. (Smith and Topin, "Super-Convergence", 2017.)
    OneCycle,
}

/// A rate that is used at first instead.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warmup {
    pub lr: f64,
    pub until: Until,
}

/// When a warm-up ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Until {
    /// Before this iteration.
    Iteration(u64),
    /// Once the training error over [`WINDOW`] iterations is below this (the paper: 0.8, for 110 layers and more).
    Error(f64),
}

/// Iterations over which the training error of a warm-up is measured.
pub const WINDOW: u64 = 50;

const RISE: f64 = 0.3;
const FIRST_SHARE: f64 = 1.0 / 25.0;
const LAST_SHARE: f64 = 1e-4;

impl Schedule {
    /// The rate of `iteration` (from 0) of `iterations`, where `peak` is the largest.
    pub fn rate(&self, peak: f64, iteration: u64, iterations: u64) -> f64 {
        match self {
            Schedule::Constant => peak,
            // Divided, not multiplied by 0.1: 0.1 / 10 is the 0.01 that a user would write.
            Schedule::MultiStep(at) => peak / at.iter().filter(|&&m| m <= iteration).fold(1.0, |by, _| 10.0 * by),
            Schedule::Cosine => between(peak, 0.0, iteration as f64 / iterations.max(1) as f64),
            Schedule::OneCycle => {
                let first = peak * FIRST_SHARE;
                let turn = RISE * iterations as f64 - 1.0;
                let last = iterations.saturating_sub(1) as f64;
                let i = iteration as f64;
                if i <= turn {
                    between(first, peak, i / turn)
                } else {
                    between(peak, first * LAST_SHARE, (i - turn) / (last - turn))
                }
            }
        }
    }

    /// `32k,48k`, `constant`, `cosine` or `one-cycle`.
    ///
    /// Errors: a message for the command line.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        match text {
            "constant" => Ok(Schedule::Constant),
            "cosine" => Ok(Schedule::Cosine),
            "one-cycle" => Ok(Schedule::OneCycle),
            list => {
                let at = list.split(',').map(iterations).collect::<Result<Vec<u64>, String>>();
                let at = at.map_err(|_| "give iterations like 32k,48k, or constant, cosine, one-cycle".to_string())?;
                match at.is_sorted_by(|a, b| a < b) {
                    true => Ok(Schedule::MultiStep(at)),
                    false => Err("iterations at which the rate falls come in ascending order".into()),
                }
            }
        }
    }
}

impl Warmup {
    /// `lr:0.01,until-err:0.8` or `lr:0.01,iters:400`.
    ///
    /// Errors: a message for the command line.
    pub fn parse(text: &str) -> Result<Warmup, String> {
        let wrong = || "give lr:0.01,until-err:0.8 or lr:0.01,iters:400".to_string();
        let (lr, until) = text.split_once(',').ok_or_else(wrong)?;
        let number = |t: &str| t.parse::<f64>().ok().filter(|v| v.is_finite() && *v > 0.0).ok_or_else(wrong);
        let lr = number(lr.strip_prefix("lr:").ok_or_else(wrong)?)?;
        let until = match until.split_once(':').ok_or_else(wrong)? {
            ("iters", n) => Until::Iteration(iterations(n)?),
            ("until-err", share) => Until::Error(number(share)?),
            _ => return Err(wrong()),
        };
        Ok(Warmup { lr, until })
    }
}

/// A number of iterations: `64000` or `64k`.
///
/// Errors: a message for the command line.
pub fn iterations(text: &str) -> Result<u64, String> {
    let (digits, scale) = text.strip_suffix('k').map_or((text, 1), |t| (t, 1000));
    let n = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(scale));
    n.filter(|n| (1..=1 << 40).contains(n)).ok_or_else(|| "give a number of iterations like 64000 or 64k".into())
}

/// From `a` at 0 to `b` at 1 along half a cosine, by a function that is the same in every program.
fn between(a: f64, b: f64, share: f64) -> f64 {
    b + (a - b) * 0.5 * (1.0 + libm::cos(core::f64::consts::PI * share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn the_papers_steps() {
        let s = Schedule::parse("32k,48k").unwrap();
        let rates = [0, 31_999, 32_000, 47_999, 48_000, 63_999].map(|i| s.rate(0.1, i, 64_000));
        assert_eq!(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]);
    }

    /// Values of the formula that `torch.optim.lr_scheduler.OneCycleLR` documents, computed elsewhere, for
    /// max_lr=0.2, total_steps=100.
    #[test]
    fn one_cycle_is_pytorchs() {
        let expected =
            [(0, 0.008), (10, 0.059_032_789_692_820_165), (29, 0.2), (50, 0.158_778_690_115_146_4), (99, 8.0e-7)];
        for (i, want) in expected {
            let got = Schedule::OneCycle.rate(0.2, i, 100);
            assert!((got - want).abs() <= 1e-12, "{i}: {got} {want}");
        }
    }

    #[test]
    fn a_cosine_ends_near_zero() {
        assert_eq!(Schedule::Cosine.rate(0.1, 0, 100), 0.1);
        assert!((Schedule::Cosine.rate(0.1, 50, 100) - 0.05).abs() < 1e-15);
        assert!(Schedule::Cosine.rate(0.1, 99, 100) < 1e-4);
    }

    #[test]
    fn one_iteration_has_a_finite_rate() {
        for s in [Schedule::Constant, Schedule::Cosine, Schedule::OneCycle, Schedule::MultiStep(vec![1])] {
            for n in 1..5 {
                assert!((0..n).all(|i| s.rate(0.1, i, n).is_finite()), "{s:?} {n}");
            }
        }
    }

    #[test]
    fn texts() {
        assert_eq!(Warmup::parse("lr:0.01,until-err:0.8"), Ok(Warmup { lr: 0.01, until: Until::Error(0.8) }));
        assert_eq!(Warmup::parse("lr:0.01,iters:400"), Ok(Warmup { lr: 0.01, until: Until::Iteration(400) }));
        for bad in ["", "lr:0.01", "lr:x,iters:4", "lr:0.1,iters:0", "0.1,iters:4", "lr:-1,iters:4", "lr:nan,iters:4"] {
            assert!(Warmup::parse(bad).is_err(), "{bad}");
        }
        assert!(["48k,32k", "", "1,1", "x", "1.5k"].iter().all(|t| Schedule::parse(t).is_err()));
        assert_eq!(iterations("64k"), Ok(64_000));
        assert!(iterations("18446744073709551615k").is_err());
    }
}
